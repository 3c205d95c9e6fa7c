#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "sdk/command/doctor_guest.h"
#include "sdk/command/doctor_host.h"
#include "sdk/command/doctor_machine.h"
#include "tests/command/run_command.h"
#include "tests/sdk/daemon.h"

namespace ivmq::command {
namespace {

QemuCommandLine Parse(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "qemu-system-x86_64");
  return ParseQemu(arguments);
}

TEST(ParseQemuTest, FindsDeviceAndSocket) {
  const QemuCommandLine qemu =
      Parse({"-accel", "kvm", "-smp", "4", "-chardev", "socket,path=/run/ivmq/vm.sock,id=q",
             "-device", "ivshmem-doorbell,chardev=q,vectors=8", "-device", "virtio-net"});
  ASSERT_EQ(qemu.devices.size(), 1U);
  EXPECT_EQ(qemu.devices[0].socket, "/run/ivmq/vm.sock");
  EXPECT_EQ(qemu.devices[0].vectors, 8);
  EXPECT_FALSE(qemu.devices[0].reconnects);
  EXPECT_FALSE(qemu.devices[0].is_plain);
  EXPECT_FALSE(qemu.emulates);
  EXPECT_FALSE(qemu.one_possible_cpu);
}

TEST(ParseQemuTest, SeesReconnect) {
  const auto reconnects = [](const std::string& chardev) {
    return Parse({"-chardev", chardev, "-device", "ivshmem-doorbell,chardev=q"})
        .devices.at(0)
        .reconnects;
  };
  EXPECT_TRUE(reconnects("socket,id=q,path=/s,reconnect=1"));
  EXPECT_TRUE(reconnects("socket,id=q,path=/s,reconnect-ms=100"));
  EXPECT_FALSE(reconnects("socket,id=q,path=/s,reconnect=0"));
  EXPECT_FALSE(reconnects("socket,id=q,path=/s"));
}

TEST(ParseQemuTest, KnowsWhenThereCanBeOneProcessorOnly) {
  EXPECT_TRUE(Parse({}).one_possible_cpu);
  EXPECT_TRUE(Parse({"-smp", "1"}).one_possible_cpu);
  EXPECT_TRUE(Parse({"-smp", "cpus=1,maxcpus=1"}).one_possible_cpu);
  EXPECT_FALSE(Parse({"-smp", "1,maxcpus=2"}).one_possible_cpu);
  EXPECT_FALSE(Parse({"-smp", "2"}).one_possible_cpu);
  EXPECT_FALSE(Parse({"-smp", "sockets=1,cores=2"}).one_possible_cpu);
}

TEST(ParseQemuTest, KnowsEmulationFromKvm) {
  EXPECT_TRUE(Parse({}).emulates);
  EXPECT_TRUE(Parse({"-accel", "tcg"}).emulates);
  EXPECT_FALSE(Parse({"-enable-kvm"}).emulates);
  EXPECT_FALSE(Parse({"-machine", "q35,accel=kvm"}).emulates);
}

TEST(ParseQemuTest, SeesPlainDevicesAndTheDefaultOfVectors) {
  const QemuCommandLine qemu =
      Parse({"-device", "ivshmem-plain,memdev=m", "-device", "ivshmem-doorbell,chardev=q"});
  ASSERT_EQ(qemu.devices.size(), 2U);
  EXPECT_TRUE(qemu.devices[0].is_plain);
  EXPECT_FALSE(qemu.devices[1].is_plain);
  EXPECT_EQ(qemu.devices[1].vectors, 1);
}

v1::ListPeersResponse OneVm(v1::Peer::State state) {
  v1::ListPeersResponse known;
  v1::Realm* realm = known.add_realms();
  realm->set_name("default");
  realm->set_vectors(8);
  v1::Peer* host = known.add_peers();
  host->set_realm("default");
  host->set_state(v1::Peer::CONNECTED);
  v1::Peer* vm = known.add_peers();
  vm->set_peer_id(3);
  vm->set_realm("default");
  vm->set_pid(4711);
  vm->set_state(state);
  vm->set_heartbeat_age_ms(12'000);
  return known;
}

// What `examine` prints, as JSON.
template <class Examine>
std::string FoundBy(Examine examine) {
  Findings findings(true);
  testing::internal::CaptureStdout();
  examine(&findings);
  return testing::internal::GetCapturedStdout();
}

TEST(ExaminePeersTest, NamesVmsThatAreNotHeard) {
  const auto found = [](const v1::ListPeersResponse& known) {
    return FoundBy([&](Findings* findings) { ExaminePeers(known, findings); });
  };
  EXPECT_EQ(found(OneVm(v1::Peer::READY)), "");
  EXPECT_THAT(found(OneVm(v1::Peer::SUSPECT)),
              testing::AllOf(
                  testing::HasSubstr(R"("level":"warn","check":"peer")"),
                  testing::HasSubstr("3 of realm default (QEMU 4711): no sign of life for 12s")));
  v1::ListPeersResponse connected = OneVm(v1::Peer::CONNECTED);
  EXPECT_THAT(found(connected), testing::HasSubstr("no agent has said hello"));
  connected.mutable_peers(1)->set_boot_id("9d2f");
  EXPECT_THAT(found(connected), testing::HasSubstr("its agent is not in contact"));
  EXPECT_THAT(found(OneVm(v1::Peer::EVICTED)), testing::HasSubstr("(QEMU 4711): evicted"));
}

TEST(ExamineLinksTest, NamesSubscribersThatStoppedAndLinksThatHoldNonsense) {
  v1::ListLinksResponse known;
  v1::Link* link = known.add_links();
  link->set_link_id(7);
  link->set_topic("camera");
  link->set_publisher_node("lens");
  link->set_publisher_peer_id(1);
  link->set_subscriber_node("screen");
  link->set_subscriber_peer_id(2);
  link->set_state(v1::Link::UP);
  link->mutable_counters()->set_published(900);
  link->mutable_counters()->set_delivered(600);
  link->mutable_counters()->set_dropped_full(100);
  const auto found = [&known] {
    return FoundBy([&](Findings* findings) { ExamineLinks(known, findings); });
  };
  link->mutable_counters()->set_read_age_ms(9'999);
  EXPECT_EQ(found(), "");
  link->mutable_counters()->set_read_age_ms(12'000);
  EXPECT_THAT(found(),
              testing::HasSubstr("7 (camera) from lens of peer 1 to screen of peer 2: 200 messages "
                                 "unread, the last was read 12s ago; its process does not answer"));
  link->mutable_counters()->set_delivered(800);
  EXPECT_EQ(found(), "") << "it has read all";
  link->set_state(v1::Link::QUARANTINED);
  link->set_reason("one side found nonsense in the ring");
  EXPECT_THAT(found(), testing::HasSubstr("to screen of peer 2: one side found nonsense"));
}

TEST(ExamineQemuTest, ComparesVectorsWithThoseOfTheRealmThatItIsConnectedTo) {
  const v1::ListPeersResponse known = OneVm(v1::Peer::READY);
  const auto failures = [&](int pid, const std::string& vectors) {
    const QemuCommandLine qemu = Parse({"-accel", "kvm", "-chardev", "socket,path=/s,id=q",
                                        "-device", "ivshmem-doorbell,chardev=q" + vectors});
    Findings findings(true);
    ExamineQemu(pid, qemu, known, {}, &findings);
    return findings.failures();
  };
  EXPECT_EQ(failures(4711, ",vectors=8"), 0U);
  EXPECT_EQ(failures(4711, ",vectors=4"), 1U);
  EXPECT_EQ(failures(4711, ""), 1U);  // QEMU's default is 1
  EXPECT_EQ(failures(4712, ",vectors=4"), 0U) << "of another broker";
}

TEST(ExamineQemuTest, WarnsOfOneThatNamesOurSocketAndIsNoPeer) {
  const test::Daemon daemon;
  const std::vector<std::string> sockets = ListeningSockets(daemon.pid());
  EXPECT_THAT(sockets, testing::IsSupersetOf({daemon.vm_socket(), daemon.admin_socket()}));
  const auto found = [&](int pid, const std::string& socket) {
    const QemuCommandLine qemu = Parse({"-accel", "kvm", "-chardev", "socket,id=q,path=" + socket,
                                        "-device", "ivshmem-doorbell,chardev=q,vectors=8"});
    return FoundBy([&](Findings* findings) {
      ExamineQemu(pid, qemu, OneVm(v1::Peer::READY), sockets, findings);
    });
  };
  EXPECT_THAT(found(4711, daemon.vm_socket()), testing::HasSubstr(R"("level":"ok")"));
  const std::string cut_off = found(4712, daemon.vm_socket());
  EXPECT_THAT(cut_off, testing::HasSubstr(R"("level":"warn","check":"QEMU 4712")"));
  EXPECT_THAT(cut_off, testing::HasSubstr("names " + daemon.vm_socket() + ", but is no peer"));
  EXPECT_THAT(cut_off, testing::HasSubstr("restart the VM"));
  const std::string other = found(4712, "/elsewhere/vm.sock");
  EXPECT_THAT(other, testing::HasSubstr("/elsewhere/vm.sock: not of this ivmqd"));
  EXPECT_THAT(other, testing::Not(testing::HasSubstr("warn")));
}

TEST(ExamineVectorsTest, FailsWhereTheDeviceHasOthersThanTheRealm) {
  transport::RegionInfo region;
  region.realm_name = "default";
  region.vectors = 8;
  const auto found = [&](const std::vector<transport::PciFunction>& devices) {
    return FoundBy([&](Findings* findings) { ExamineVectors(devices, region, findings); });
  };
  transport::PciFunction device;
  device.bdf = "0000:00:02.0";
  EXPECT_EQ(found({device}), "");  // not told, as to all but root
  device.msix_vectors = 8;
  EXPECT_EQ(found({device}), "");
  device.msix_vectors = 4;
  EXPECT_THAT(found({device}),
              testing::AllOf(testing::HasSubstr(R"("level":"fail","check":"vectors")"),
                             testing::HasSubstr("0000:00:02.0 has 4, but realm default has 8"),
                             testing::HasSubstr("vectors=8")));
  EXPECT_EQ(found({device, device}), "");
}

TEST(ExamineFileLimitTest, WarnsWhereAProcessMayOpenFewerFilesThanItsPeersTake) {
  rlimit files{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
  Findings findings(true);
  ExamineFileLimit("QEMU", ::getpid(), files.rlim_cur, &findings);
  EXPECT_EQ(findings.warnings(), 0U);
  ExamineFileLimit("QEMU", ::getpid(), files.rlim_cur + 1, &findings);
  EXPECT_EQ(findings.warnings(), 1U);
}

TEST(DoctorTest, FindsAHealthyHostHealthy) {
  const test::Daemon daemon;
  const Finished finished = RunIvmq({"--node-socket", daemon.node_socket(), "--admin-socket",
                                     daemon.admin_socket(), "doctor", "--json"});
  EXPECT_EQ(finished.exit_code, 0) << finished.out << finished.err;
  std::vector<std::string> checks;
  for (const std::string& line : finished.Lines()) {
    const auto finding = ParseJson<google::protobuf::Struct>(line);
    checks.push_back(FieldOf(finding, "check"));
    EXPECT_NE(FieldOf(finding, "level"), "fail") << line;
    EXPECT_EQ(FieldOf(finding, "mend").empty(), FieldOf(finding, "level") == "ok") << line;
  }
  EXPECT_THAT(checks, testing::IsSupersetOf({"daemon", "control", "region", "peer", "memory",
                                             "memory writes", "doorbell", "admin socket", "realm",
                                             "file limit"}));
}

TEST(DoctorTest, FailsWhenControlIsGone) {
  test::Daemon daemon;
  ASSERT_EQ(RunIvmq({"--admin-socket", daemon.admin_socket(), "peers"}).exit_code, 0);
  daemon.KillControl();
  const Finished finished = RunIvmq(
      {"--node-socket", daemon.node_socket(), "--admin-socket", daemon.admin_socket(), "doctor"});
  EXPECT_EQ(finished.exit_code, 1) << finished.out;
  EXPECT_THAT(finished.out, testing::HasSubstr("restart ivmqd"));
}

}  // namespace
}  // namespace ivmq::command

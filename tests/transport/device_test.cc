// The conformance suite over the devices that need no guest, and what is special about them.
#include <fcntl.h>

#include "tests/transport/device_conformance.h"
#include "tests/transport/local_realm.h"

namespace ivmq::transport::conformance {
namespace {

Ends MemfdEnds() {
  auto realm = std::make_shared<LocalRealm>(4 << 20, 3);
  Ends ends;
  ends.device = realm->AddPeer(0);
  ends.partner = std::make_shared<LocalPartner>(realm->AddPeer(1));
  ends.bystander = std::make_shared<LocalPartner>(realm->AddPeer(2));
  ends.keep = realm;
  return ends;
}

// Obeys its mailbox in a thread, as a partner in another guest does.
class MailboxThread {
 public:
  MailboxThread(const std::shared_ptr<Device>& device, uint32_t slot)
      : partner_(device, slot, [device, slot] { ServeMailbox(*device, slot); }) {}
  const std::shared_ptr<MailboxPartner>& partner() const { return partner_.partner; }

 private:
  struct Running {
    Running(const std::shared_ptr<Device>& device, uint32_t slot, std::function<void()> serve)
        : thread(std::move(serve)), partner(std::make_shared<MailboxPartner>(device, slot)) {}
    ~Running() {
      partner->Do({Op::kQuit, 0, 0, 0});
      thread.join();
    }
    std::thread thread;
    std::shared_ptr<MailboxPartner> partner;
  };
  Running partner_;
};

Ends MailboxEnds() {
  struct Keep {
    LocalRealm realm{4 << 20, 3};
    std::shared_ptr<MemfdDevice> device = realm.AddPeer(1);
    MailboxThread partner{realm.AddPeer(2), 0};
    MailboxThread bystander{realm.AddPeer(3), 1};
  };
  auto keep = std::make_shared<Keep>();
  return {keep->device, keep->partner.partner(), keep->bystander.partner(), keep};
}

Ends AttachedEnds() {
  struct Keep {
    LocalRealm realm{4 << 20, 3};
    std::shared_ptr<MemfdDevice> host = realm.AddPeer(0);
    TestDaemon daemon{host, LendingOptions(*host, 2)};
    Attached attached =
        LocalRealm::Must(Attach(daemon.path(), std::chrono::steady_clock::now() + kPatience));
  };
  auto keep = std::make_shared<Keep>();
  return {keep->attached.device, std::make_shared<LocalPartner>(keep->realm.AddPeer(1)),
          std::make_shared<LocalPartner>(keep->realm.AddPeer(2)), keep};
}

INSTANTIATE_TEST_SUITE_P(Devices, DeviceConformance,
                         testing::Values(Factory{"Memfd", MemfdEnds},
                                         Factory{"MemfdByMailbox", MailboxEnds},
                                         Factory{"AttachedMemfd", AttachedEnds, false}),
                         [](const auto& info) { return info.param.name; });

TEST(MemfdDeviceTest, ForgetsThePeerThatIsRemoved) {
  LocalRealm realm(4 << 20, 2);
  const auto host = realm.AddPeer(0);
  const auto vm = realm.AddPeer(1);
  const Result<Doorbell> old = host->OpenDoorbell(1, 0);
  ASSERT_TRUE(old.ok());
  host->RemovePeer(1);
  host->RemovePeer(1);
  EXPECT_EQ(host->OpenDoorbell(1, 0).status().code(), Code::kNotFound);
  old.value().Ring();  // into an eventfd that nobody has to look at any more
}

TEST(MemfdDeviceTest, RingsItsOwnVectorsForItsOtherProcesses) {
  LocalRealm realm(4 << 20, 2);
  const auto host = realm.AddPeer(0);
  const auto process = realm.AddSharer(0);
  host->OpenDoorbell(0, 1).value().Ring();
  EXPECT_EQ(TakeRung(*process, 2), 2U);
  EXPECT_EQ(host->OpenDoorbell(0, 2).status().code(), Code::kNotFound);
}

TEST(MemfdDeviceTest, KeepsADoorbellUsableAfterTheDevice) {
  LocalRealm realm(4 << 20, 2);
  realm.AddPeer(0);
  auto host = realm.AddSharer(0);
  const auto vm = realm.AddPeer(1);
  host->AddDoorbell(1, 0, LocalRealm::Copy(vm->vector_fd(0)));
  const Doorbell bell = host->OpenDoorbell(1, 0).value();
  host.reset();
  bell.Ring();
  EXPECT_EQ(TakeRung(*vm, 1), 1U);
}

TEST(CreateRegionMemfdTest, SealsTheSizeAndKeepsToTheRules) {
  const Result<UniqueFd> fd = CreateRegionMemfd("seal-test", kMinRegionBytes, RegionPages::kNow);
  ASSERT_TRUE(fd.ok()) << fd.status().message();
  EXPECT_EQ(::fcntl(fd.value().get(), F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  EXPECT_NE(::ftruncate(fd.value().get(), 0), 0);
  for (const uint64_t bytes :
       {uint64_t{0}, kMinRegionBytes - 1, kMinRegionBytes / 2, 3 * kMinRegionBytes}) {
    EXPECT_EQ(CreateRegionMemfd("x", bytes, RegionPages::kOnDemand).status().code(),
              Code::kInvalidArgument);
  }
  EXPECT_EQ(CreateRegionMemfd("x", uint64_t{1} << 50, RegionPages::kNow).status().code(),
            Code::kResourceExhausted);
}

// A machine may have reserved some: this many it has not.
TEST(CreateRegionMemfdTest, SaysHowManyHugePagesAreMissing) {
  const Result<UniqueFd> fd = CreateRegionMemfd("huge-test", uint64_t{1} << 44, RegionPages::kHuge);
  ASSERT_EQ(fd.status().code(), Code::kResourceExhausted) << fd.status().message();
  EXPECT_NE(fd.status().message().find("sysctl vm.nr_hugepages=8388608"), std::string::npos);
  EXPECT_EQ(CreateRegionMemfd("huge-test", 1 << 20, RegionPages::kHuge).status().code(),
            Code::kInvalidArgument);
}

TEST(MappingTest, RefusesToMapBeyondTheFile) {
  const UniqueFd fd =
      LocalRealm::Must(CreateRegionMemfd("map-test", kMinRegionBytes, RegionPages::kOnDemand));
  EXPECT_TRUE(Mapping::OfFile(fd.get(), kMinRegionBytes - 4096, 4096).ok());
  EXPECT_TRUE(Mapping::OfFile(fd.get(), 100, 100).ok()) << "any offset will do";
  EXPECT_EQ(Mapping::OfFile(fd.get(), kMinRegionBytes - 4096, 4097).status().code(),
            Code::kOutOfRange);
  EXPECT_EQ(Mapping::OfFile(fd.get(), ~uint64_t{0}, 4096).status().code(), Code::kOutOfRange);
  EXPECT_EQ(Mapping::OfFile(fd.get(), 0, ~uint64_t{0}).status().code(), Code::kOutOfRange);
  EXPECT_FALSE(Mapping::OfFile(fd.get(), 0, 0).ok());
  EXPECT_FALSE(Mapping::OfFile(-1, 0, 4096).ok());
}

}  // namespace
}  // namespace ivmq::transport::conformance

#include "tests/agent/pseudo_vm.h"

#include <fcntl.h>
#include <poll.h>

#include <chrono>
#include <stdexcept>
#include <utility>

#include "transport/pci_scan.h"

namespace ivmq::agent {
namespace {

using transport::MemfdDevice;
using transport::UniqueFd;

constexpr uint64_t kRegisterFileBytes = 1 << 20;  // the smallest that CreateRegionMemfd makes
constexpr uint32_t kNoRing = 0xffffffff;
constexpr std::chrono::seconds kPatience{60};
constexpr std::chrono::microseconds kLookEvery{20};
constexpr int kLooksPerNews = 50;

UniqueFd Copy(int fd) { return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

template <class T>
T Must(transport::Result<T> result) {
  if (!result.ok()) throw std::runtime_error(result.status().message());
  return std::move(result).value();
}

}  // namespace

PseudoVmDevice::PseudoVmDevice(const std::string& vm_socket, uint32_t vectors, bool interrupts)
    : interrupts_(interrupts),
      vectors_(vectors),
      client_(broker::IvshmemClient::Connect(vm_socket, vectors)) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!client_.complete() || client_.peers().count(0) == 0) {
    client_.Read();
    if (!client_.violation().empty()) throw std::runtime_error(client_.violation());
    if (client_.at_eof() || std::chrono::steady_clock::now() > deadline) {
      throw std::runtime_error("ivmqd did not greet the VM");
    }
    pollfd readable{client_.socket(), POLLIN, 0};
    ::poll(&readable, 1, 100);
  }
  MemfdDevice::Parts parts;
  parts.region = Copy(client_.region());
  parts.peer_id = static_cast<uint32_t>(client_.id());
  for (uint32_t v = 0; v < vectors; ++v) {
    parts.vectors.push_back(Copy(client_.vector(parts.peer_id, v)));
  }
  memfd_ = Must(MemfdDevice::Open(std::move(parts)));
  registers_fd_ = Must(transport::CreateRegionMemfd("registers", kRegisterFileBytes,
                                                    transport::RegionPages::kOnDemand));
  registers_ =
      Must(transport::Mapping::OfFile(registers_fd_.get(), 0, transport::kRegisterPageBytes));
  TakeNews();
  TakeRing();  // the register starts as "peer 0, vector 0"
  thread_ = std::thread([this] { Run(); });
}

PseudoVmDevice::~PseudoVmDevice() {
  stop_ = true;
  thread_.join();
}

void PseudoVmDevice::Die() {
  dead_ = true;
  while (client_.socket() >= 0) std::this_thread::yield();  // the thread closes it
}

void PseudoVmDevice::Run() {
  for (int look = 0; !stop_; ++look) {
    if (dead_) {
      client_.Close();
      return;
    }
    TakeRing();
    if (look % kLooksPerNews == 0) {
      client_.Read();
      TakeNews();
    }
    // Polls the doorbell register, a word that is stored to without a trap, and every so often the
    // socket for peers that come and go.
    std::this_thread::sleep_for(kLookEvery);
  }
}

void PseudoVmDevice::TakeRing() {
  auto* word =
      reinterpret_cast<uint32_t*>(registers_->bytes().data() + transport::kDoorbellRegister);
  const uint32_t value =
      std::atomic_ref<uint32_t>(*word).exchange(kNoRing, std::memory_order_seq_cst);
  if (value == kNoRing) return;
  // A peer that is unknown or has left is ignored, as by QEMU.
  const auto doorbell = memfd_->OpenDoorbell(value >> 16, value & 0xffff);
  if (doorbell.ok()) doorbell.value().Ring();
}

void PseudoVmDevice::TakeNews() {
  for (const uint32_t peer : client_.peers()) {
    for (uint32_t v = 0; v < vectors_; ++v) {
      if (client_.vector(peer, v) < 0 || memfd_->OpenDoorbell(peer, v).ok()) continue;
      memfd_->AddDoorbell(peer, v, Copy(client_.vector(peer, v)));
    }
  }
}

std::span<std::byte> PseudoVmDevice::region() const { return memfd_->region(); }
uint32_t PseudoVmDevice::peer_id() const { return memfd_->peer_id(); }
uint32_t PseudoVmDevice::vector_count() const { return interrupts_ ? vectors_ : 0; }

int PseudoVmDevice::vector_fd(uint32_t vector) const {
  return interrupts_ ? memfd_->vector_fd(vector) : -1;
}

transport::Result<transport::Doorbell> PseudoVmDevice::OpenDoorbell(uint32_t peer,
                                                                    uint32_t vector) const {
  auto* word = reinterpret_cast<volatile uint32_t*>(registers_->bytes().data() +
                                                    transport::kDoorbellRegister);
  return transport::Doorbell::Register(registers_, word, peer, vector);
}

transport::Status PseudoVmDevice::Lend(uint32_t vector, transport::AttachMessage* welcome,
                                       std::vector<int>* fds) const {
  welcome->region_access = transport::RegionAccess::kSysfs;
  welcome->doorbell_access = transport::DoorbellAccess::kMmap;
  welcome->region_bytes = region().size();
  welcome->doorbell_page_offset = transport::kDoorbellRegister;
  welcome->peer_id = peer_id();
  welcome->vector = vector;
  welcome->has_wake_fd = interrupts_ ? 1 : 0;
  fds->assign({memfd_->region_fd(), registers_fd_.get()});
  if (interrupts_) fds->push_back(memfd_->vector_fd(vector));
  return transport::Status();
}

}  // namespace ivmq::agent

#ifndef IVMQ_TESTS_TRANSPORT_TEST_DAEMON_H_
#define IVMQ_TESTS_TRANSPORT_TEST_DAEMON_H_

#include <poll.h>
#include <sys/eventfd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "transport/attach_server.h"
#include "transport/unix_socket.h"

namespace ivmq::transport {

// A directory of its own for one test, removed with all that is in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "ivmq-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
    path_ = pattern;
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// An AttachServer on a thread of its own, and a record of what it reported.
class TestDaemon {
 public:
  TestDaemon(std::shared_ptr<const Device> device, AttachServer::Options options)
      : stop_(::eventfd(0, EFD_CLOEXEC)) {
    Result<UniqueFd> listener = ListenUnix(path(), UnixSocketType::kSeqpacket);
    if (!listener.ok()) throw std::runtime_error(listener.status().message());
    AttachServer::Callbacks callbacks;
    callbacks.on_attached = [this](AttachServer::Client client) { OnAttached(std::move(client)); };
    callbacks.on_gone = [this](uint64_t id, AttachServer::Gone how) { OnGone(id, how); };
    auto server = AttachServer::Create(std::move(listener).value(), std::move(device),
                                       std::move(options), std::move(callbacks));
    if (!server.ok()) throw std::runtime_error(server.status().message());
    server_ = std::move(server).value();
    thread_ = std::thread([this] { Serve(); });
  }
  ~TestDaemon() {
    Post([this] { stopped_ = true; });
    thread_.join();
  }
  TestDaemon(const TestDaemon&) = delete;
  TestDaemon& operator=(const TestDaemon&) = delete;

  std::string path() const { return directory_.path() + "/node"; }

  // Runs `task` on the server's thread and waits for it.
  template <class Task>
  auto Run(Task task) {
    std::packaged_task<decltype(task(*server_))()> packaged(
        [this, &task] { return task(*server_); });
    auto result = packaged.get_future();
    Post([&packaged] { packaged(); });
    return result.get();
  }

  // True if that became true within a minute; looked at whenever something was reported.
  bool Await(const std::function<bool(const TestDaemon&)>& condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::minutes(1), [&] { return condition(*this); });
  }

  // What was reported. Only inside Await's condition, or when nothing more can come.
  std::map<uint64_t, AttachServer::Client> attached;
  std::map<uint64_t, AttachServer::Gone> gone;
  uint64_t attached_count = 0;
  uint64_t gone_count = 0;
  // Forget whoever has closed its connection, as an owner does that lent it nothing.
  bool forget_closed = true;
  // Forget clients once they are reported: for tests with very many.
  bool keep_records = true;
  // How often the loop ran, to see it spin.
  std::atomic<uint64_t> loops = 0;

 private:
  void OnAttached(AttachServer::Client client) {
    const std::lock_guard lock(mutex_);
    ++attached_count;
    if (keep_records) attached.emplace(client.connection_id, std::move(client));
    changed_.notify_all();
  }
  void OnGone(uint64_t id, AttachServer::Gone how) {
    const std::lock_guard lock(mutex_);
    ++gone_count;
    if (keep_records) gone[id] = how;
    if (forget_closed && how == AttachServer::Gone::kClosed) server_->Forget(id);
    changed_.notify_all();
  }
  void Post(std::function<void()> task) {
    {
      const std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(stop_.get(), &one, sizeof(one));
  }
  void Serve() {
    while (!stopped_) {
      std::array<pollfd, 2> watched = {pollfd{server_->fd(), POLLIN, 0},
                                       pollfd{stop_.get(), POLLIN, 0}};
      ::poll(watched.data(), watched.size(), -1);
      ++loops;
      if (watched[0].revents != 0) server_->Process();
      if (watched[1].revents == 0) continue;
      uint64_t count = 0;
      [[maybe_unused]] const ssize_t size = ::read(stop_.get(), &count, sizeof(count));
      std::vector<std::function<void()>> tasks;
      {
        const std::lock_guard lock(mutex_);
        tasks.swap(tasks_);
      }
      for (const auto& task : tasks) task();
    }
  }

  TemporaryDirectory directory_;
  UniqueFd stop_;
  std::unique_ptr<AttachServer> server_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::function<void()>> tasks_;  // guarded by mutex_
  bool stopped_ = false;                      // the server's thread only
  std::thread thread_;
};

}  // namespace ivmq::transport

#endif  // IVMQ_TESTS_TRANSPORT_TEST_DAEMON_H_

#ifndef IVMQ_TESTS_AGENT_AGENT_THREAD_H_
#define IVMQ_TESTS_AGENT_AGENT_THREAD_H_

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "sdk/agent/agent.h"

namespace ivmq::agent {

// An agent with its loop on a thread of its own, as ivmq-agent runs it. Throws if it cannot start.
class AgentThread {
 public:
  AgentThread(std::shared_ptr<transport::Device> device, const Agent::Options& options)
      : loop_(Must(transport::EventLoop::Create())),
        agent_(Must(Agent::Create(loop_, device, options))) {
    Watch();
    thread_ = std::thread([this] { loop_->Run(); });
  }
  ~AgentThread() {
    loop_->Stop();
    thread_.join();
    look_.Reset();  // the agent's end runs the loop once more
    agent_.reset();
  }
  AgentThread(const AgentThread&) = delete;
  AgentThread& operator=(const AgentThread&) = delete;

  bool connected() const { return connected_; }
  size_t processes() const { return processes_; }
  // Of the loop, without those that this observation costs.
  uint64_t wakeups() const { return wakeups_; }

 private:
  template <class T>
  static T Must(transport::Result<T> result) {
    if (!result.ok()) throw std::runtime_error(result.status().message());
    return std::move(result).value();
  }
  // Looks from the loop's own thread.
  void Watch() {
    connected_ = agent_->connected();
    processes_ = agent_->processes();
    wakeups_ = loop_->wakeups() - looks_++;  // the first look woke nobody
    look_.Set(std::chrono::milliseconds(20), [this] { Watch(); });
  }

  std::shared_ptr<transport::EventLoop> loop_;
  std::unique_ptr<Agent> agent_;
  std::atomic<bool> connected_{false};
  std::atomic<size_t> processes_{0};
  transport::Timer look_{loop_.get()};
  uint64_t looks_ = 0;
  std::atomic<uint64_t> wakeups_{0};
  std::thread thread_;
};

}  // namespace ivmq::agent

#endif  // IVMQ_TESTS_AGENT_AGENT_THREAD_H_

#ifndef IVMQ_BROKER_KEEPER_KEEPER_H_
#define IVMQ_BROKER_KEEPER_KEEPER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "broker/keeper/config.h"
#include "broker/keeper/control_link.h"
#include "broker/keeper/control_process.h"
#include "broker/keeper/fd_budget.h"
#include "broker/keeper/listener.h"
#include "broker/keeper/realm.h"
#include "transport/event_loop.h"
#include "transport/listening_socket.h"

namespace ivmq::broker {

// The process that owns every fd: it listens, greets, notices deaths, and does what control tells
// it. Control may die; VMs, processes and their links do not notice.
//
// One thread: the caller's, inside Run().
class Keeper {
 public:
  Keeper(transport::EventLoop* loop, KeeperConfig config);
  ~Keeper();

  // Listens, creates the regions and starts control.
  transport::Status Start();
  // Runs until Stop() has taken effect, or control refused to serve. Returns the exit code.
  int Run();
  // Stops listening, lets control end, then makes Run() return. May be called from a handler.
  void Stop();

 private:
  transport::Status StartControl();
  void IntroduceAll();
  void OnCommand(const KeeperCommand& command);
  bool Execute(const KeeperCommand& command);
  void OnRealmReady(const KeeperCommand& command);
  void OnAdminConnection(transport::UniqueFd connection);
  void OnControlClosed();
  void OnControlExit(const std::string& how);
  void LoseControl(const std::string& why);
  void Fail(const std::string& why);
  void Finish();

  transport::EventLoop* const loop_;
  const KeeperConfig config_;
  FdBudget budget_;
  transport::UniqueFd journal_;
  uint64_t last_command_ = 0;
  bool ready_ = false;
  bool stopping_ = false;
  int exit_code_ = 0;

  std::vector<std::unique_ptr<Realm>> realms_;
  transport::ListeningSocket admin_socket_;
  std::unique_ptr<Listener> admin_listener_;
  std::unique_ptr<ControlProcess> control_process_;
  std::unique_ptr<ControlLink> control_;
  transport::Timer cleanup_;   // destroys control_ outside its own callback
  transport::Timer patience_;  // how long control may take to end
};

}  // namespace ivmq::broker

#endif  // IVMQ_BROKER_KEEPER_KEEPER_H_

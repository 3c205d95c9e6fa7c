#ifndef IVMQ_BROKER_CONTROL_COUNTER_SURVEY_H_
#define IVMQ_BROKER_CONTROL_COUNTER_SURVEY_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "broker/control/realm_state.h"
#include "ivmq/v1/control.pb.h"
#include "transport/event_loop.h"

namespace ivmq::control {

// Asks nodes for their counters and waits for the answers, but not for long. Several may ask at
// once. One thread, the loop's.
class CounterSurvey {
 public:
  static constexpr std::chrono::milliseconds kPatience{500};

  CounterSurvey(transport::EventLoop* loop, RealmState* state) : loop_(loop), state_(state) {}

  // Asks every node that is a side of a link of `topic` (empty: of any). `done` is called once:
  // when all have answered, after kPatience, or at once if there is nobody to ask. Just before, the
  // counters of these links say who has answered this question.
  void Start(const std::string& topic, std::function<void()> done);
  // A node answered; `request_id` is that of the question, or 0 where more of the answer comes.
  void OnAnswer(uint64_t node_id, uint64_t request_id, const v1::Counters& counters);
  // A node left: nobody waits for it any more.
  void OnLeft(uint64_t node_id);

 private:
  // What one question was answered of a link.
  struct Answer {
    bool publisher = false;
    bool subscriber = false;
    uint64_t read_age_ms = 0;
  };
  using Answers = std::map<uint64_t, Answer>;  // by link
  struct Question {
    std::string topic;
    std::set<uint64_t> waiting_for;
    Answers answers;
    std::function<void()> done;
    std::unique_ptr<transport::Timer> timer;
  };
  void Finish(uint64_t request_id);

  transport::EventLoop* const loop_;
  RealmState* const state_;
  uint64_t next_request_ = 1;
  std::map<uint64_t, Question> questions_;
  std::map<uint64_t, Answers> told_;  // by node: of an answer whose end has not come
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_COUNTER_SURVEY_H_

#include "broker/control/counter_survey.h"

#include <utility>
#include <vector>

#include "broker/control/event_sink.h"

namespace ivmq::control {

void CounterSurvey::Start(const std::string& topic, std::function<void()> done) {
  const uint64_t request_id = next_request_++;
  Question question;
  for (const auto& [id, link] : state_->directory.links()) {
    if (!topic.empty() && link.topic != topic) continue;
    Link* mine = state_->directory.FindLink(id);
    mine->counters.set_publisher_answered(false);
    mine->counters.set_subscriber_answered(false);
    mine->counters.set_read_age_ms(0);
    for (const LinkSide* side : {&link.publisher, &link.subscriber}) {
      const Node* node = state_->directory.FindNode(side->node_id);
      if (node != nullptr && node->sink != nullptr) question.waiting_for.insert(node->id);
    }
  }
  if (question.waiting_for.empty()) return done();
  v1::NodeEvent event;
  event.set_request_id(request_id);
  event.mutable_counters_wanted();
  for (const uint64_t node_id : question.waiting_for) {
    state_->directory.FindNode(node_id)->sink->Send(event, {});
  }
  question.done = std::move(done);
  question.timer = std::make_unique<transport::Timer>(loop_);
  question.timer->Set(kPatience, [this, request_id] { Finish(request_id); });
  questions_.emplace(request_id, std::move(question));
}

void CounterSurvey::OnAnswer(uint64_t node_id, uint64_t request_id) {
  const auto found = questions_.find(request_id);
  if (found == questions_.end()) return;
  found->second.waiting_for.erase(node_id);
  if (found->second.waiting_for.empty()) Finish(request_id);
}

void CounterSurvey::OnLeft(uint64_t node_id) {
  std::vector<uint64_t> finished;
  for (auto& [id, question] : questions_) {
    question.waiting_for.erase(node_id);
    if (question.waiting_for.empty()) finished.push_back(id);
  }
  for (const uint64_t id : finished) Finish(id);
}

void CounterSurvey::Finish(uint64_t request_id) {
  auto node = questions_.extract(request_id);
  if (!node.empty()) node.mapped().done();
}

}  // namespace ivmq::control

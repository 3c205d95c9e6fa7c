#include "broker/control/counter_survey.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "broker/control/event_sink.h"

namespace ivmq::control {

void CounterSurvey::Start(const std::string& topic, std::function<void()> done) {
  const uint64_t request_id = next_request_++;
  Question& question = questions_[request_id];
  question.topic = topic;
  question.done = std::move(done);
  for (const auto& [id, link] : state_->directory.links()) {
    if (!topic.empty() && link.topic != topic) continue;
    for (const LinkSide* side : {&link.publisher, &link.subscriber}) {
      const Node* node = state_->directory.FindNode(side->node_id);
      if (node != nullptr && node->sink != nullptr) question.waiting_for.insert(node->id);
    }
  }
  if (question.waiting_for.empty()) return Finish(request_id);
  v1::NodeEvent event;
  event.set_request_id(request_id);
  event.mutable_counters_wanted();
  for (const uint64_t node_id : question.waiting_for) {
    state_->directory.FindNode(node_id)->sink->Send(event, {});
  }
  question.timer = std::make_unique<transport::Timer>(loop_);
  question.timer->Set(kPatience, [this, request_id] { Finish(request_id); });
}

void CounterSurvey::OnAnswer(uint64_t node_id, uint64_t request_id, const v1::Counters& counters) {
  Answers& told = told_[node_id];
  for (const v1::LinkCounters& each : counters.links()) {
    const Link* link = state_->directory.FindLink(each.link_id());
    if (link == nullptr) continue;
    if (link->publisher.node_id == node_id) told[link->id].publisher = true;
    if (link->subscriber.node_id == node_id) {
      Answer& answer = told[link->id];
      answer.subscriber = true;
      // A node at both ends tells of each by itself.
      answer.read_age_ms = std::max(answer.read_age_ms, each.read_age_ms());
    }
  }
  if (request_id == 0) return;  // more is to come
  const Answers all = std::move(told);
  told_.erase(node_id);
  const auto found = questions_.find(request_id);
  if (found == questions_.end() || found->second.waiting_for.erase(node_id) == 0) return;
  for (const auto& [link_id, answer] : all) {
    Answer& kept = found->second.answers[link_id];
    kept.publisher |= answer.publisher;
    kept.subscriber |= answer.subscriber;
    kept.read_age_ms = std::max(kept.read_age_ms, answer.read_age_ms);
  }
  if (found->second.waiting_for.empty()) Finish(request_id);
}

void CounterSurvey::OnLeft(uint64_t node_id) {
  told_.erase(node_id);
  std::vector<uint64_t> finished;
  for (auto& [id, question] : questions_) {
    question.waiting_for.erase(node_id);
    if (question.waiting_for.empty()) finished.push_back(id);
  }
  for (const uint64_t id : finished) Finish(id);
}

void CounterSurvey::Finish(uint64_t request_id) {
  const auto node = questions_.extract(request_id);
  if (node.empty()) return;
  const Question& question = node.mapped();
  for (const auto& [id, link] : state_->directory.links()) {
    if (!question.topic.empty() && link.topic != question.topic) continue;
    const auto found = question.answers.find(id);
    const Answer answer = found == question.answers.end() ? Answer() : found->second;
    Link* const mine = state_->directory.FindLink(id);
    mine->was_asked = true;
    v1::LinkCounters& counters = mine->counters;
    counters.set_publisher_answered(answer.publisher);
    counters.set_subscriber_answered(answer.subscriber);
    counters.set_read_age_ms(answer.read_age_ms);
  }
  question.done();
}

}  // namespace ivmq::control

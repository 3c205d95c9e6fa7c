// How publishers and subscribers come to be: made, and registered with control.

#include <string>
#include <utility>

#include "sdk/node/node_impl.h"
#include "sdk/node/wire_text.h"
#include "sdk/pubsub/publisher_impl.h"
#include "sdk/pubsub/qos.h"
#include "sdk/pubsub/subscriber_impl.h"

namespace ivmq::internal {
namespace {

Status CheckNames(std::string_view topic, std::string_view type_name) {
  Status status = CheckWireText("topic", topic);
  if (status.ok()) status = CheckWireText("type name", type_name);
  return status;
}

}  // namespace

Result<std::unique_ptr<PublisherImpl>> PublisherImpl::Create(const std::shared_ptr<NodeImpl>& node,
                                                             std::string_view topic,
                                                             std::string_view type_name,
                                                             const PublisherOptions& options) {
  if (node->forked()) return ForkedStatus();
  if (Status status = CheckNames(topic, type_name); !status.ok()) return status;
  auto publisher = Make(node, topic, options);
  if (!publisher.ok()) return publisher;
  v1::NodeRequest request;
  auto* const registration = request.mutable_register_publisher();
  registration->set_topic(std::string(topic));
  registration->set_type_name(std::string(type_name));
  *registration->mutable_qos() = (*publisher)->offer();
  const NodeImpl::Types types{
      {type_name}, options.descriptors, registration->mutable_file_descriptor_set()};
  const auto id = node->Register(&request, publisher->get(), &types);
  if (!id.ok()) return id.status();
  if (options.timestamps) static_cast<void>(node->clock()->Now());  // so that it is known in time
  return publisher;
}

Result<std::shared_ptr<SubscriberImpl>> SubscriberImpl::Create(
    const std::shared_ptr<NodeImpl>& node, std::string_view topic, std::string_view type_name,
    const SubscriberOptions& options) {
  if (node->forked()) return ForkedStatus();
  if (Status status = CheckNames(topic, type_name); !status.ok()) return status;
  auto ask = AskOf(topic, options);
  if (!ask.ok()) return ask.status();
  auto subscriber = Make(node, topic, options);
  if (!subscriber.ok()) return subscriber;
  v1::NodeRequest request;
  auto* const registration = request.mutable_register_subscriber();
  registration->set_topic(std::string(topic));
  registration->set_type_name(std::string(type_name));
  *registration->mutable_qos() = std::move(ask).value();
  if (const auto id = node->Register(&request, subscriber->get()); !id.ok()) return id.status();
  if (Status status = (*subscriber)->WaitJoined(options.join_timeout); !status.ok()) {
    return status;  // Its destructor takes the registration back.
  }
  if (Status status = (*subscriber)->StartCallbacks(); !status.ok()) return status;
  return subscriber;
}

}  // namespace ivmq::internal

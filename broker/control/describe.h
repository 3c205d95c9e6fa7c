#ifndef IVMQ_BROKER_CONTROL_DESCRIBE_H_
#define IVMQ_BROKER_CONTROL_DESCRIBE_H_

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "broker/control/directory.h"
#include "broker/control/peer_book.h"
#include "ivmq/v1/discovery.pb.h"

// The books in the words of discovery.proto. Pure but for the clock. One thread, the books'.

namespace ivmq::control {

v1::Peer DescribePeer(const Peer& peer, const Directory& directory, const std::string& realm);
v1::Node DescribeNode(const Node& node, const Directory& directory, const std::string& realm);
v1::Topic DescribeTopic(const std::string& name, const Topic& topic, const Directory& directory,
                        const std::string& realm);
v1::Service DescribeService(const std::string& name, const Service& service,
                            const Directory& directory, const std::string& realm);
v1::Link DescribeLink(const Link& link, const std::string& realm);

// Sixteen bytes as 8-4-4-4-12 hexadecimal digits.
std::string UuidText(std::span<const uint8_t, 16> uuid);
std::string BootIdText(const BootId& boot_id);

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_DESCRIBE_H_

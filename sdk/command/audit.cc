#include "sdk/command/audit.h"

#include <fmt/core.h>

#include <memory>

#include "sdk/command/admin_client.h"
#include "sdk/command/output.h"
#include "sdk/command/tables.h"

namespace ivmq::command {
namespace {

std::string AmountText(const v1::Amount& amount) {
  if (amount.least() == amount.most()) return std::to_string(amount.least());
  return fmt::format("between {} and {}", amount.least(), amount.most());
}

const char* ReasonText(v1::Drop::Reason reason) {
  switch (reason) {
    case v1::Drop::FULL:
      return "dropped: full";
    case v1::Drop::OVERWRITTEN:
      return "dropped: overwritten";
    case v1::Drop::SUBSCRIBER_CLOSED:
      return "dropped: subscriber closed";
    case v1::Drop::SUBSCRIBER_DIED:
      return "dropped: subscriber died";
    case v1::Drop::CORRUPT:
      return "dropped: corrupt";
    default:
      return "dropped";
  }
}

std::string AccountText(const v1::Account& account) {
  std::string text = fmt::format("{} = {} delivered", AmountText(account.published()),
                                 AmountText(account.delivered()));
  for (const v1::Drop& drop : account.drops()) {
    text += fmt::format(" + {} {} (of {} to {})", AmountText(drop.count()),
                        ReasonText(drop.reason()), drop.first_sequence(), drop.last_sequence());
  }
  return text + fmt::format(" + {} in flight", AmountText(account.in_flight()));
}

bool IsExact(const v1::Account& account) {
  const auto exact = [](const v1::Amount& amount) { return amount.least() == amount.most(); };
  for (const v1::Drop& drop : account.drops()) {
    if (!exact(drop.count())) return false;
  }
  return exact(account.published()) && exact(account.delivered()) && exact(account.in_flight());
}

std::string VerdictText(const v1::LinkAudit& audit) {
  switch (audit.verdict()) {
    case v1::LinkAudit::EXACT:
      return "adds up";
    case v1::LinkAudit::BOUNDS:
      return "within bounds";
    case v1::LinkAudit::WRONG:
      return "DOES NOT ADD UP";
    default:
      return "?";
  }
}

}  // namespace

std::vector<std::string> AuditLines(const v1::LinkAudit& audit) {
  const v1::Link& link = audit.link();
  std::string title = fmt::format(
      "link {} {}, {}@{} to {}@{}, {}: {}", link.link_id(), LinkTopicText(link),
      link.publisher_node(), link.publisher_peer_id(), link.subscriber_node(),
      link.subscriber_peer_id(),
      audit.ended() ? "ended" : StateText(v1::Link::State_Name(link.state())), VerdictText(audit));
  if (!audit.detail().empty()) title += " (" + audit.detail() + ")";
  std::vector<std::string> lines{title};
  const auto add = [&](const char* by, const v1::Account& account, const char* note) {
    lines.push_back(fmt::format("  {:<9} {}{}{}", by, AccountText(account),
                                IsExact(account) ? ", exact" : "", note));
  };
  add("counters:", audit.counters(),
      audit.published_recounted() ? " (the publisher died; counted in the ring)" : "");
  if (audit.has_ring()) add("ring:", audit.ring(), "");
  return lines;
}

int RunAudit(const CommandLine& line) {
  const transport::Result<std::unique_ptr<AdminClient>> admin =
      AdminClient::Connect(line.admin_socket);
  const auto not_audited = [](const transport::Status& status) {
    Complain("nothing was audited: " + status.message());
    return kFailed;
  };
  if (!admin.ok()) return not_audited(admin.status());
  const auto response = admin.value()->Audit(line.realm, line.topic);
  if (!response.ok()) return not_audited(response.status());
  if (response.value().links().empty() && !line.topic.empty()) {
    return not_audited(transport::Status(transport::Code::kNotFound,
                                         fmt::format("no link of topic '{}'", line.topic)));
  }
  if (response.value().links().empty() && !line.json) PrintLine("there are no links");
  int exit_code = kDone;
  for (const v1::LinkAudit& audit : response.value().links()) {
    if (line.json) {
      PrintLine(ToJsonLine(audit));
    } else {
      for (const std::string& text : AuditLines(audit)) PrintLine(text);
    }
    if (audit.verdict() != v1::LinkAudit::WRONG) continue;
    Complain(fmt::format("link {} ({}) does not add up: {}", audit.link().link_id(),
                         LinkTopicText(audit.link()), audit.detail()));
    exit_code = kFailed;
  }
  return exit_code;
}

}  // namespace ivmq::command

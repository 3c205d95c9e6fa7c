#include "sdk/command/command_line.h"

#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <limits>
#include <string>
#include <utility>

#include "sdk/command/output.h"

namespace ivmq::command {
namespace {

constexpr const char* kFooter =
    "\nExit status: 0 done, 1 failed, 2 misused.\n"
    "--json prints one JSON object a line. Lists print an object for each element, as in\n"
    "ivmq/v1/discovery.proto; 64-bit integers are strings there, as in all of protobuf's JSON.";

constexpr double kSecondsMax = 1e9;  // fits a count of nanoseconds
constexpr double kRateMinHz = 0.001;
constexpr double kRateMaxHz = 1e9;
constexpr uint64_t kSizeMaxBytes = 2 << 20;  // an eighth of the largest ring

// CLI11's own checks of a number print the bounds of its type, which for a double has 309 digits.
template <class Number>
CLI::Validator Within(Number least, Number most) {
  const auto check = [least, most](const std::string& text) -> std::string {
    constexpr bool kWhole = std::is_integral_v<Number>;
    Number value{};
    // What is no number compares as false with both bounds.
    if (CLI::detail::lexical_cast(text, value) && value >= least && value <= most) return {};
    if (most == std::numeric_limits<Number>::max()) {
      return fmt::format("'{}' is not a whole number from {}", text, least);
    }
    return kWhole ? fmt::format("'{}' is not a whole number from {} to {}", text, least, most)
                  : fmt::format("'{}' is not a number from {:.10g} to {:.10g}", text,
                                static_cast<double>(least), static_cast<double>(most));
  };
  return CLI::Validator(check, "");
}

CLI::Validator Counted(uint64_t least) {
  return Within(least, std::numeric_limits<uint64_t>::max());
}

std::string CommandsOf(const CLI::App& app) {
  std::string names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    names += (names.empty() ? "" : ", ") + command->get_name();
  }
  return names;
}

// A number of seconds, with fractions.
std::chrono::nanoseconds Seconds(double seconds) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
      std::chrono::duration<double>(seconds));
}

// Builds the parser; owns what CLI11 writes to until Take() turns it into a CommandLine.
class Parser {
 public:
  Parser() : app_("Publishes, subscribes, looks at a realm and diagnoses it.", "ivmq") {
    app_.set_version_flag("--version", "ivmq " IVMQ_VERSION);
    app_.require_subcommand(1);
    app_.fallthrough();  // --json and the sockets may stand anywhere
    app_.footer(kFooter);
    app_.add_option("--admin-socket", line_.admin_socket,
                    "of ivmqd, on the host (default " + DefaultAdminSocket() + ")")
        ->envname("IVMQ_ADMIN_SOCKET");
    app_.add_option("--node-socket", line_.node_socket,
                    "of ivmqd, or of ivmq-agent in a guest (default /run/ivmq/node.sock, or "
                    "$XDG_RUNTIME_DIR/ivmq/node.sock)")
        ->envname("IVMQ_NODE_SOCKET");
    app_.add_flag("--json", line_.json, "one JSON object a line, for programs");
    AddPub();
    AddSub();
    AddLists();
    AddWatch();
    AddEvict();
    Add("doctor", "checks daemon, device, region and machine, and says what to mend",
        Subcommand::kDoctor);
    app_.add_subcommand("version", "prints the version")->callback([this] { version_ = true; });
  }

  bool Parse(int argc, char** argv, CommandLine* line, int* exit_code) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      const bool asked = error.get_exit_code() == 0;  // for help or the version
      if (asked) {
        app_.exit(error);
      } else {
        Complain(Explain(error));
      }
      *exit_code = asked ? kDone : kMisused;
      return false;
    }
    if (version_) {
      PrintLine(line_.json ? "{\"version\":\"" IVMQ_VERSION "\"}" : "ivmq " IVMQ_VERSION);
      *exit_code = kDone;
      return false;
    }
    if (!Take()) {
      *exit_code = kMisused;
      return false;
    }
    *line = std::move(line_);
    return true;
  }

 private:
  // What is wrong, in which command, and where it says what is right.
  std::string Explain(const CLI::ParseError& error) const {
    const CLI::App* app = &app_;
    std::string path = "ivmq";
    while (!app->get_subcommands().empty()) {
      app = app->get_subcommands().front();
      path += " " + app->get_name();
    }
    std::string what = error.what();
    if (app->get_require_subcommand_min() > 0) {
      std::string given;  // the first word that should have been a command
      for (const std::string& word : app_.remaining(true)) {
        if (word.empty() || word.front() == '-') continue;
        given = word;
        break;
      }
      what = given.empty()
                 ? "which command? There are " + CommandsOf(*app)
                 : fmt::format("there is no command '{}', but {}", given, CommandsOf(*app));
    }
    return fmt::format("{}; see `{} --help`", what, path);
  }

  CLI::App* Add(const std::string& name, const std::string& what, Subcommand subcommand) {
    return app_.add_subcommand(name, what)->callback([this, subcommand] {
      line_.subcommand = subcommand;
    });
  }

  void AddPub() {
    CLI::App* pub = Add("pub", "publishes messages", Subcommand::kPub);
    pub->add_option("TOPIC", line_.pub.topic, "tokens by dots, no wildcards")->required();
    data_ = pub->add_option("--data", data_text_, "the message");
    stdin_ = pub->add_flag("--stdin", from_stdin_, "each line of the standard input is a message")
                 ->excludes(data_);
    count_ =
        pub->add_option("--count", pub_count_, "how many messages (default 1)")->check(Counted(1));
    rate_ = pub->add_option("--rate", rate_hz_, "messages a second (default: as fast as it goes)")
                ->check(Within(kRateMinHz, kRateMaxHz));
    size_ = pub->add_option("--size", size_bytes_,
                            "repeats or cuts the data to so many bytes (default: as it is)")
                ->check(Within(uint64_t{0}, kSizeMaxBytes))
                ->excludes(stdin_);
    pub->add_option("--type", line_.pub.type_name,
                    "full protobuf type name of the messages (default: bytes without a type)");
    pub->add_option("--wait", line_.pub.wait_subscribers,
                    "publishes only when there are so many subscribers (default 0)")
        ->check(Within(uint32_t{0}, std::numeric_limits<uint32_t>::max()));
    pub->add_option("--timeout", pub_timeout_,
                    "seconds to wait for subscribers, and for room in a link")
        ->check(Within(0.0, kSecondsMax))
        ->capture_default_str();
  }

  void AddSub() {
    CLI::App* sub = Add("sub", "prints messages as they come, each on a line", Subcommand::kSub);
    sub->add_option("TOPIC", line_.sub.topic, "tokens by dots; * for one token, a last > for more")
        ->required();
    sub_count_option_ =
        sub->add_option("--count", sub_count_, "ends after so many messages")->check(Counted(1));
    sub_timeout_option_ =
        sub->add_option("--timeout", sub_timeout_,
                        "ends after so many seconds; with --count and fewer messages that is a "
                        "failure (status 1)")
            ->check(Within(0.0, kSecondsMax));
  }

  void AddLists() {
    const auto list = [this](const char* name, const char* what, Subcommand subcommand) {
      CLI::App* app = Add(name, what, subcommand);
      app->add_option("--realm", line_.realm, "only this realm (default: all)");
      return app;
    };
    list("realms", "lists the realms of ivmqd and what they use", Subcommand::kRealms);
    list("peers", "lists machines: the host and every VM", Subcommand::kPeers);
    list("nodes", "lists processes that use the SDK", Subcommand::kNodes);
    list("topics", "lists topics", Subcommand::kTopics);
    list("links", "lists links and what passed through them", Subcommand::kLinks)
        ->add_option("--topic", line_.topic, "only this topic or service (default: all)");
    list("audit", "accounts for the messages of each link; status 1 where they do not add up",
         Subcommand::kAudit)
        ->add_option("--topic", line_.topic, "only this topic or service (default: all)");
  }

  void AddWatch() {
    CLI::App* watch =
        Add("watch", "prints what is there, then what comes, changes and goes", Subcommand::kWatch);
    watch->add_option("--realm", line_.realm, "only this realm (default: all)");
    watch->add_flag("--peers", line_.watch.peers, "machines (default: everything)");
    watch->add_flag("--nodes", line_.watch.nodes, "processes");
    watch->add_flag("--topics", line_.watch.topics, "topics");
    watch->add_flag("--links", line_.watch.links, "links");
  }

  void AddEvict() {
    CLI::App* evict = app_.add_subcommand("evict", "removes a process or a VM from its realm");
    evict->require_subcommand(1);
    evict->fallthrough();
    CLI::App* node = evict->add_subcommand("node", "ends a process's session");
    node->add_option("ID", line_.evict_id, "as `ivmq nodes` shows it")
        ->required()
        ->check(Counted(1));
    node->callback([this] { line_.subcommand = Subcommand::kEvictNode; });
    CLI::App* peer = evict->add_subcommand("peer", "disconnects a VM's device");
    peer->add_option("ID", line_.evict_id, "as `ivmq peers` shows it; not 0")
        ->required()
        ->check(Within(uint32_t{1}, uint32_t{65535}));
    peer->add_option("--realm", line_.realm, "of the peer (default: the only one)");
    peer->callback([this] { line_.subcommand = Subcommand::kEvictPeer; });
  }

  bool Take() {
    line_.admin_socket_given = !line_.admin_socket.empty();
    if (!line_.admin_socket_given) line_.admin_socket = DefaultAdminSocket();
    if (line_.subcommand == Subcommand::kPub) {
      if (data_->count() == 0 && stdin_->count() == 0 && size_->count() == 0) {
        Complain("pub: what shall be published? Give --data TEXT, --size BYTES or --stdin");
        return false;
      }
      if (stdin_->count() == 0) line_.pub.data = data_text_;
      if (count_->count() > 0) line_.pub.count = pub_count_;
      if (rate_->count() > 0) line_.pub.rate_hz = rate_hz_;
      if (size_->count() > 0) line_.pub.size_bytes = size_bytes_;
      line_.pub.timeout = Seconds(pub_timeout_);
    }
    if (sub_count_option_->count() > 0) line_.sub.count = sub_count_;
    if (sub_timeout_option_->count() > 0) line_.sub.timeout = Seconds(sub_timeout_);
    return true;
  }

  CLI::App app_;
  CommandLine line_;
  bool version_ = false;
  CLI::Option* data_ = nullptr;
  CLI::Option* stdin_ = nullptr;
  CLI::Option* count_ = nullptr;
  CLI::Option* rate_ = nullptr;
  CLI::Option* size_ = nullptr;
  CLI::Option* sub_count_option_ = nullptr;
  CLI::Option* sub_timeout_option_ = nullptr;
  bool from_stdin_ = false;
  std::string data_text_;
  uint64_t pub_count_ = 1;
  double rate_hz_ = 0;
  size_t size_bytes_ = 0;
  double pub_timeout_ = 5;
  uint64_t sub_count_ = 0;
  double sub_timeout_ = 0;
};

}  // namespace

std::string DefaultAdminSocket() {
  if (::geteuid() == 0) return "/run/ivmq/admin.sock";
  // NOLINTNEXTLINE(concurrency-mt-unsafe): before there are threads
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  return runtime != nullptr ? std::string(runtime) + "/ivmq/admin.sock" : "/run/ivmq/admin.sock";
}

bool ParseCommandLine(int argc, char** argv, CommandLine* line, int* exit_code) {
  return Parser().Parse(argc, argv, line, exit_code);
}

}  // namespace ivmq::command

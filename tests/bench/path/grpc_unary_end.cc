// gRPC over a UNIX socket: a call a request, served by the synchronous server.
#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <mutex>

#include "path/bench_pipe.grpc.pb.h"
#include "tests/bench/path/channel.h"

namespace ivmq::bench {
namespace {

class Answerer : public Pipe::Service {
 public:
  explicit Answerer(size_t bytes) : messages_(bytes) {}
  grpc::Status Ask(grpc::ServerContext* /*context*/, const Payload* query,
                   Payload* reply) override {
    const std::lock_guard lock(mutex_);
    messages_.Expect(query->data().data(), query->data().size());
    const auto answer = messages_.NextToSend();
    reply->set_data(answer.data(), answer.size());
    ++answered_;
    changed_.notify_one();
    return grpc::Status::OK;
  }
  void WaitFor(int answers) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return answered_ >= answers; });
    answered_ -= answers;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  Messages messages_;
  int answered_ = 0;
};

class GrpcRequester : public Requester {
 public:
  explicit GrpcRequester(const Meet& meet) : messages_(meet.bytes), answerer_(meet.bytes) {
    const std::string address = "unix:" + meet.name;
    if (meet.end == End::kSecond) {
      grpc::ServerBuilder builder;
      builder.AddListeningPort(address, grpc::InsecureServerCredentials());
      builder.RegisterService(&answerer_);
      server_ = builder.BuildAndStart();
      Require(server_ != nullptr, "grpc server");
      return;
    }
    const auto channel = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
    Require(channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(10)),
            "grpc connect");
    stub_ = Pipe::NewStub(channel);
  }
  void ToAndFro(int trips) override {
    Payload query;
    Payload reply;
    for (int i = 0; i < trips; ++i) {
      const auto message = messages_.NextToSend();
      query.set_data(message.data(), message.size());
      grpc::ClientContext context;
      Require(stub_->Ask(&context, query, &reply).ok(), "grpc call");
      messages_.Expect(reply.data().data(), reply.data().size());
    }
  }
  void FroAndTo(int trips) override { answerer_.WaitFor(trips); }

 private:
  Messages messages_;
  Answerer answerer_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Pipe::Stub> stub_;
};

}  // namespace

void AddGrpcUnary(std::vector<Contender>* to) {
  to->push_back(
      {"grpc", 0, 200, [](const Meet& meet) { return std::make_unique<GrpcRequester>(meet); }});
}

}  // namespace ivmq::bench

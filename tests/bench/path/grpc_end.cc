// gRPC over a UNIX socket: one stream both ways.
#include <grpcpp/grpcpp.h>

#include <future>
#include <thread>

#include "path/bench_pipe.grpc.pb.h"
#include "tests/bench/path/channel.h"

namespace ivmq::bench {
namespace {

// Lends its stream to the thread that measures; it ends with the process.
class Service : public Pipe::Service {
 public:
  using ServerStream = grpc::ServerReaderWriter<Payload, Payload>;
  grpc::Status Stream(grpc::ServerContext* /*context*/, ServerStream* stream) override {
    stream_.set_value(stream);
    std::promise<void>().get_future().wait();
    return grpc::Status::OK;
  }
  ServerStream* WaitForStream() { return stream_.get_future().get(); }

 private:
  std::promise<ServerStream*> stream_;
};

class GrpcEnd {
 public:
  explicit GrpcEnd(const Meet& meet) {
    const std::string address = "unix:" + meet.name;
    if (meet.end == End::kFirst) {
      grpc::ServerBuilder builder;
      builder.AddListeningPort(address, grpc::InsecureServerCredentials());
      builder.RegisterService(&service_);
      server_ = builder.BuildAndStart();
      Require(server_ != nullptr, "grpc server");
      served_ = service_.WaitForStream();
    } else {
      const auto channel = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
      Require(
          channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(10)),
          "grpc connect");
      stub_ = Pipe::NewStub(channel);
      called_ = stub_->Stream(&context_);
    }
  }
  void Send(std::span<const std::byte> message, bool more) {
    payload_.set_data(message.data(), message.size());
    grpc::WriteOptions options;
    if (more) options.set_buffer_hint();
    Require(called_ ? called_->Write(payload_, options) : served_->Write(payload_, options),
            "grpc write");
  }
  int Receive(Messages* expected, int /*limit*/) {
    Require(called_ ? called_->Read(&payload_) : served_->Read(&payload_), "grpc read");
    expected->Expect(payload_.data().data(), payload_.data().size());
    return 1;
  }

 private:
  Payload payload_;
  Service service_;
  std::unique_ptr<grpc::Server> server_;
  Service::ServerStream* served_ = nullptr;
  std::unique_ptr<Pipe::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<Payload, Payload>> called_;
};

}  // namespace

void AddGrpc(std::vector<Contender>* to) {
  to->push_back(ContenderOf<GrpcEnd>("grpc", 5'000, 200));
}

}  // namespace ivmq::bench

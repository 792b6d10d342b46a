/*
 * What myservice is measured against: an echo server on the asynchronous API
 * of grpc++, one completion queue and one thread, as its examples are made.
 *
 *     grpcxx HOST:PORT
 */

#include <cstdio>
#include <memory>

#include <grpcpp/grpcpp.h>

#include "my_service.grpc.pb.h"


using my_service::EchoRequest;
using my_service::EchoResponse;
using my_service::MyServiceAPI;


namespace {

const int  kSlots = 64;         /* calls that wait to be taken, as myservice */


class Call {
public:
    Call(MyServiceAPI::AsyncService *service, grpc::ServerCompletionQueue *cq)
        : service_(service), cq_(cq), answer_(&context_)
    {
        service_->RequestMyServiceEcho(&context_, &request_, &answer_, cq_,
                                       cq_, this);
    }

    void Proceed()
    {
        if (done_) {
            delete this;
            return;
        }

        new Call(service_, cq_);

        const auto  &metadata = context_.client_metadata();
        auto  session = metadata.find("session-id");

        if (session != metadata.end()) {
            std::string  id(session->second.data(), session->second.size());
            response_.set_server_session_id(id);
            response_.set_client_session_id(id);
        }

        response_.set_client_value(request_.value());
        response_.set_server_value("my_service");
        response_.set_pod_name("0");
        response_.set_server_method("MyServiceEcho");

        done_ = true;
        answer_.Finish(response_, grpc::Status::OK, this);
    }

private:
    MyServiceAPI::AsyncService                       *service_;
    grpc::ServerCompletionQueue                      *cq_;
    grpc::ServerContext                               context_;
    EchoRequest                                       request_;
    EchoResponse                                      response_;
    grpc::ServerAsyncResponseWriter<EchoResponse>     answer_;
    bool                                              done_ = false;
};

}


int
main(int argc, char **argv)
{
    int                          port = 0;
    void                        *tag;
    bool                         ok;
    grpc::ServerBuilder          builder;
    MyServiceAPI::AsyncService   service;

    if (argc != 2) {
        fprintf(stderr, "usage: grpcxx HOST:PORT\n");
        return 2;
    }

    builder.AddListeningPort(argv[1], grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service);

    auto  cq = builder.AddCompletionQueue();
    auto  server = builder.BuildAndStart();

    if (server == nullptr || port == 0) {
        fprintf(stderr, "grpcxx: cannot listen on %s\n", argv[1]);
        return 1;
    }

    for (int i = 0; i < kSlots; i++) {
        new Call(&service, cq.get());
    }

    while (cq->Next(&tag, &ok)) {
        if (ok) {
            static_cast<Call *>(tag)->Proceed();

        } else {
            delete static_cast<Call *>(tag);
        }
    }

    return 0;
}

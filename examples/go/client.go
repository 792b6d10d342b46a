package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"board/pb"
)

// While all instances are busy the gateway says when to come again, which
// replaces the backoff. grpc-go before 1.40 obeys with GRPC_GO_RETRY=on alone.
const policy = `{"methodConfig": [{
	"name": [{"service": "board.Board"}],
	"retryPolicy": {
		"maxAttempts": 5,
		"initialBackoff": "0.01s",
		"maxBackoff": "1s",
		"backoffMultiplier": 2,
		"retryableStatusCodes": ["RESOURCE_EXHAUSTED"]
	}
}]}`

func post(gateway, token, text string) {
	channel, err := grpc.Dial(gateway, grpc.WithInsecure(),
		grpc.WithDefaultServiceConfig(policy))
	if err != nil {
		log.Fatal(err)
	}
	defer channel.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	answer, err := pb.NewBoardClient(channel).Add(ctx, &pb.Post{Text: text})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer.Text)
}

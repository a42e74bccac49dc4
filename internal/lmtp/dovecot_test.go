package lmtp

import (
	"context"
	"os"
	"strings"
	"testing"
)

// Another server in deliver's seat: PEYK_LMTP is its socket, PEYK_LMTP_USERS
// are two accounts that it has. Without them there is nothing to test.
func TestForeignServer(t *testing.T) {
	socket, users := os.Getenv("PEYK_LMTP"), strings.Fields(os.Getenv("PEYK_LMTP_USERS"))
	if socket == "" || len(users) != 2 {
		t.Skip("PEYK_LMTP and PEYK_LMTP_USERS are not set")
	}
	c, err := Dial(context.Background(), "unix", socket, "client.test", Timeouts{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Logf("offers %+v", c.ext)
	big := strings.Repeat("0123456789abcdef\r\n", 20000)
	for i, message := range []string{hello, big, ".\r\n..\r\n", "no line end", hello} {
		for _, size := range []int64{int64(len(message)), 0} {
			tr := transaction("Subject: x\r\n\r\n"+message, users[0], "nobody.at.all@x.invalid", users[1])
			if size == 0 {
				tr.Size = 0
			}
			tr.Body = "8BITMIME"
			got, err := c.Deliver(context.Background(), tr)
			if err != nil || got[0].Err != nil || got[1].Err == nil || got[2].Err != nil {
				t.Fatalf("message %d, size %d: %+v, %v", i, size, got, err)
			}
		}
		tr := transaction(message, "nobody.at.all@x.invalid")
		if got, err := c.Deliver(context.Background(), tr); err != nil || got[0].Err == nil || got[0].Err.Temporary() {
			t.Fatalf("message %d for nobody: %+v, %v", i, got, err)
		}
	}
	if err := c.Reset(context.Background()); err != nil {
		t.Error(err)
	}
}

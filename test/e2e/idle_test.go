package e2e_test

import (
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"peyk/test/sandbox"
)

// A delivery by another process shows in IDLE. The time is reported, and a
// verdict only where it is out of all proportion: machines are busy.
func TestIdleTellsOfADelivery(t *testing.T) {
	s := sandbox.Start(t)
	news := make(chan uint32, 10)
	c, err := imapclient.DialTLS(s.Env["PEYK_IMAPS"], &imapclient.Options{
		TLSConfig: trusted(t, s),
		UnilateralDataHandler: &imapclient.UnilateralDataHandler{Mailbox: func(data *imapclient.UnilateralDataMailbox) {
			if data.NumMessages != nil {
				news <- *data.NumMessages
			}
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login(s.Env["PEYK_USER2"], s.Env["PEYK_PASS2"]).Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	idle, err := c.Idle()
	if err != nil {
		t.Fatal(err)
	}
	smtp, err := hello(s.Env["PEYK_SMTP"])
	if err != nil {
		t.Fatal(err)
	}
	for n := uint32(1); n <= 5; n++ {
		if _, err := smtp.send("you@example.net", s.Env["PEYK_USER2"], []byte("Subject: n\r\n\r\nb\r\n"), 0); err != nil {
			t.Fatal(err)
		}
		sent := time.Now()
		for seen := uint32(0); seen < n; {
			select {
			case seen = <-news:
			case <-time.After(patience):
				t.Fatalf("message %d: no news by IDLE", n)
			}
		}
		t.Logf("message %d: EXISTS %v after the 250", n, time.Since(sent).Round(time.Millisecond))
	}
	if err := idle.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Store(imap.SeqSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagSeen}}, nil).Close(); err != nil {
		t.Fatal(err)
	}
}

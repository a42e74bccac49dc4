package remote

import (
	"strings"
	"testing"

	"peyk/internal/envelope"
	"peyk/internal/lmtp"
)

// BenchmarkRelay passes messages of 4 KB from an LMTP session that stays open
// to a host of the same process, one new SMTP session each.
func BenchmarkRelay(b *testing.B) {
	w := newWorld(b, routes("* 192.0.2.1:25"))
	w.host("192.0.2.1", &host{keywords: modern})
	text := strings.Repeat(strings.Repeat("x", 78)+"\r\n", 51)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		c, err := lmtp.Dial(b.Context(), "tcp", w.lmtp.String(), "queue-run", lmtp.Timeouts{})
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		for pb.Next() {
			results, err := c.Deliver(b.Context(), &lmtp.Transaction{Sender: "a@b.test", Size: int64(len(text)),
				Recipients: []envelope.Recipient{{Address: "x@one.test"}}, Message: strings.NewReader(text)})
			if err != nil || results[0].Err != nil {
				b.Error(err, results)
				return
			}
		}
	})
}

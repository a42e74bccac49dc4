package pop3d

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// BenchmarkRetrMaildir is RETR of 10,000 messages of 4 KB, pipelined.
func BenchmarkRetrMaildir(b *testing.B) {
	const messages = 10_000
	root, drops := maildirs(b)
	body := "Subject: x\n\n" + strings.Repeat(strings.Repeat("y", 70)+"\n", 57)
	all := make([]string, messages)
	for i := range all {
		all[i] = body
	}
	makeMaildir(b, filepath.Join(root.root, "big"), all)
	w := startOver(b, map[string]string{"preauth": "big"}, Options{Drops: drops}, root)
	c, in := open(b, w)
	in.ReadString('\n')
	go func() {
		for i := 0; ; i++ {
			if _, err := fmt.Fprintf(c, "RETR %d\r\n", i%messages+1); err != nil {
				return
			}
		}
	}()
	size := int64(len(wanted(body)))
	size += int64(len(fmt.Sprintf("+OK %d octets\r\n.\r\n", size)))
	b.ReportAllocs()
	for b.Loop() {
		io.CopyN(io.Discard, in, size)
	}
}

// BenchmarkIdleSessions reports the memory of a session that waits, in bytes
// of heap and stacks, sockets of both ends included.
func BenchmarkIdleSessions(b *testing.B) {
	const sessions = 500
	w := startWorld(b, nil)
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		var conns []net.Conn
		for range sessions {
			c, err := w.dial("")
			if err != nil {
				b.Fatal(err)
			}
			var greeting [64]byte
			c.Read(greeting[:])
			conns = append(conns, c)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		used := after.HeapInuse + after.StackInuse - before.HeapInuse - before.StackInuse
		b.ReportMetric(float64(used)/sessions, "bytes/session")
		for _, c := range conns {
			c.Close()
		}
	}
}

package sandbox

import (
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
)

// offsets are where the services of a sandbox lie above its base port.
var offsets = []int{25, 53, 110, 143, 465, 587, 993, 995}

// tried counts the bases that this process has looked at.
var tried atomic.Int64

// freeBase returns a base port whose services are free now, below the ports
// that the system hands out by itself. No two calls in a process return the
// same, and processes side by side begin their search at different places.
func freeBase(t testing.TB) int {
	t.Helper()
	for range 1000 {
		n := int64(os.Getpid())*37 + tried.Add(1)
		if base := 10000 + int(n%215)*100; allFree(base) {
			return base
		}
	}
	t.Fatal("no free ports")
	return 0
}

// FreePort returns one free port, for a foreign program. It is below the ports
// that the system hands out, so no client of another test gets it meanwhile.
func FreePort(t testing.TB) int { return freeBase(t) + offsets[0] }

func allFree(base int) bool {
	for _, offset := range offsets {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(base+offset)))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

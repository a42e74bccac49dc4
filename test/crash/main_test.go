// Package crash_test makes every system call of every durable path fail in
// turn, and looks whether what was promised is still true.
package crash_test

import (
	"os"
	"testing"

	"peyk/test/crash/supervise"
	"peyk/test/sandbox"
)

func TestMain(m *testing.M) {
	supervise.Main()
	os.Exit(sandbox.Main(m))
}

package queuerun

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWatchNamesWhatComes(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	ready, names := make(chan struct{}), make(chan []string)
	done := make(chan error)
	go func() { done <- watch(ctx, dir, func() { close(ready) }, func(n []string) { names <- n }) }()
	<-ready
	os.WriteFile(filepath.Join(other, "a"), nil, 0o600)
	os.Rename(filepath.Join(other, "a"), filepath.Join(dir, "moved"))
	if got := <-names; strings.Join(got, " ") != "moved" {
		t.Errorf("got %q", got)
	}
	os.Remove(filepath.Join(dir, "moved")) // our own doing: no event
	os.WriteFile(filepath.Join(dir, "flush"), nil, 0o600)
	if got := <-names; strings.Join(got, " ") != "flush" {
		t.Errorf("got %q", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := watch(t.Context(), filepath.Join(dir, "none"), func() {}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

// FuzzEventNames: whatever the kernel says, no name has a slash or is read
// beyond its event.
func FuzzEventNames(f *testing.F) {
	event := "\x01\x00\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00name\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	f.Add([]byte(event + event))
	f.Add([]byte("\x01\x00\x00\x00\x00\x40\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		names, err := eventNames(data)
		if err != nil {
			return
		}
		total := 0
		for _, n := range names {
			total += len(n) + 16
		}
		if total > len(data) {
			t.Fatalf("%q from %d octets", names, len(data))
		}
	})
}

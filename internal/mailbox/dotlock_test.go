package mailbox

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A lock says whose it is as long as it is there: nobody who looks meanwhile,
// and nobody who comes after a kill, finds one without its owner.
func TestLockIsNeverEmpty(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dovecot-uidlist.lock")
	l := &locker{host: "me", pid: os.Getpid(), now: time.Now, started: time.Now()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 2000 {
			d, err := l.try(path)
			if err != nil || d == nil {
				t.Error(d, err)
				return
			}
			d.release()
		}
	}()
	for n := 0; ; n++ {
		select {
		case <-done:
			return
		default:
		}
		if text, err := os.ReadFile(path); err == nil && len(text) == 0 {
			t.Fatal("the lock is empty")
		}
	}
}

func TestLockIsExclusive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	l := &locker{host: "me", pid: os.Getpid(), now: time.Now, started: time.Now()}
	for _, make := range []func() (*os.File, error){
		func() (*os.File, error) { return l.create(path) },
		func() (*os.File, error) { return createInPlace(path, "1:me") },
	} {
		f, err := make()
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		if _, err := l.create(path); !os.IsExist(err) {
			t.Errorf("a second lock: %v", err)
		}
		if _, err := createInPlace(path, "1:me"); !os.IsExist(err) {
			t.Errorf("a second lock in place: %v", err)
		}
		os.Remove(path)
	}
}

package mailbox

import (
	"path/filepath"
	"time"
)

// minVerify is the least time until cur/ is listed again after changes of our
// own; a scan that takes long is repeated less often.
const (
	minVerify     = 2 * time.Second
	watchedVerify = 5 * time.Minute // when events tell of all changes but our own
)

// ownChange spans changes that this process makes in cur/, so that they need
// not be looked for afterwards. A change of another process within the same
// few microseconds shows when cur/ is listed again, at the latest then; with
// a watcher, at once.
type ownChange struct {
	f     *Folder
	trust bool // cur/ was as we know it when we began
	any   bool
}

// changeCur begins a change. f.mu is held.
func (f *Folder) changeCur() *ownChange {
	c, err := stampOf(f.path("cur"))
	return &ownChange{f: f, trust: err == nil && c == f.curStamp && f.curKnown()}
}

// expect tells the watcher that these names will appear or disappear.
func (o *ownChange) expect(paths ...string) {
	o.any = true
	if !o.f.host.watch.watching(o.f) {
		return
	}
	o.f.notify.Lock()
	defer o.f.notify.Unlock()
	for _, p := range paths {
		o.f.expecting[p]++
	}
}

// done ends the change: the stamp of cur/ is now the one we caused.
func (o *ownChange) done() {
	if !o.any {
		return
	}
	f := o.f
	f.curOK = false
	c, err := stampOf(f.path("cur"))
	if err != nil || !o.trust {
		f.verifyAt = time.Time{}
		return
	}
	f.curStamp = c
	if f.verifyAt.IsZero() {
		f.verifyAt = time.Now().Add(f.verifyAfter())
	}
}

func (f *Folder) verifyAfter() time.Duration {
	if f.host.watch.watching(f) {
		return watchedVerify
	}
	return max(minVerify, 20*f.scanTook)
}

// expected reports whether an event was caused by ourselves.
func (f *Folder) expectedEvent(path string) bool {
	key := filepath.Base(filepath.Dir(path)) + "/" + filepath.Base(path)
	f.notify.Lock()
	defer f.notify.Unlock()
	n := f.expecting[key]
	if n == 0 {
		return false
	}
	if n == 1 {
		delete(f.expecting, key)
	} else {
		f.expecting[key] = n - 1
	}
	return true
}

package mailbox

import (
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// vanished is a message that is gone.
type vanished struct {
	modSeq uint64
	uid    uint32
}

// nextModSeq returns a mod-sequence above all that were: the time in
// microseconds, so that it never goes back, even if none is remembered.
func (f *Folder) nextModSeq(highest uint64) uint64 {
	return max(highest+1, uint64(f.host.o.Now().UnixMicro()))
}

// stampChanges gives a new mod-sequence to what differs between two snapshots.
func (f *Folder) stampChanges(old, next *Snapshot, messages *draft) {
	was := List{}
	if old != nil {
		next.HighestModSeq = old.HighestModSeq
		if old.UIDValidity == next.UIDValidity {
			was = old.Messages
		} else {
			f.vanished = nil
		}
	}
	now := f.nextModSeq(next.HighestModSeq)
	var changed []int
	Diff(was, messages.List, func(i, j int) {
		if j < 0 {
			f.vanished = append(f.vanished, vanished{now, was.At(i).UID})
			next.HighestModSeq = now
			return
		}
		m := messages.At(j)
		if i < 0 || was.At(i).Flags != m.Flags || was.At(i).Keywords != m.Keywords {
			changed, next.HighestModSeq = append(changed, j), now
		}
	})
	for _, i := range changed {
		messages.edit(i).ModSeq = now
	}
	if next.HighestModSeq == 0 {
		next.HighestModSeq = now // RFC 7162 §3.1.2.1: positive
	}
}

// Vanished returns the messages that were expunged after the folder's
// highest mod-sequence was since, ascending. It is not complete when the
// folder does not remember as much.
func (f *Folder) Vanished(since uint64) (uids []uint32, complete bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, v := range f.vanished {
		if v.modSeq > since {
			uids = append(uids, v.uid)
		}
	}
	slices.Sort(uids)
	return uids, false
}

// SaveDate returns when a message came into this folder (RFC 8514).
func (f *Folder) SaveDate(uid uint32) (time.Time, error) {
	var at time.Time
	err := f.withFile(uid, func(path string) error {
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return &os.PathError{Op: "lstat", Path: path, Err: err}
		}
		at = time.Unix(st.Ctim.Unix())
		return nil
	})
	return at, err
}

// ID returns what names the folder for as long as it lives, whatever it is
// called (RFC 8474 §4); it is empty before the first Refresh.
func (f *Folder) ID() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ids.header.guid
}

package textindex

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io"
	"math"
	"time"

	"peyk/internal/casemap"
	"peyk/internal/mailbox"
	"peyk/internal/mailtext"
)

// How much one transaction takes in.
const (
	batchMessages = 100
	batchText     = 1 << 20
)

// Filled counts what Fill did.
type Filled struct{ Added, Removed int }

// A filler brings the index up to a snapshot of a folder.
type filler struct {
	x     *Index
	f     *mailbox.Folder
	list  mailbox.List
	which Folder
	text  collector
	read  *mailbox.Reader
	buf   []byte
	did   Filled
}

// Fill brings the index up to date with a folder that was refreshed. After
// each batch it calls pause with the time that the batch took; its error, or
// the end of ctx, ends the work, of which all that was done stays.
func (x *Index) Fill(ctx context.Context, f *mailbox.Folder, pause func(took time.Duration) error) (Filled, error) {
	s := f.Snapshot()
	fl := &filler{x: x, f: f, list: s.Messages, which: Folder{f.ID(), s.UIDValidity}, buf: make([]byte, 64<<10), read: f.NewReader()}
	defer fl.read.Close()
	if fl.which.ID == "" {
		return fl.did, nil
	}
	if err := fl.reconcile(); err != nil {
		return fl.did, err
	}
	for {
		start := time.Now()
		more, err := fl.batch(ctx)
		if err != nil || !more {
			return fl.did, err
		}
		if err := pause(time.Since(start)); err != nil {
			return fl.did, err
		}
		if err := ctx.Err(); err != nil {
			return fl.did, err
		}
	}
}

// reconcile removes what was expunged.
func (fl *filler) reconcile() error {
	tx, err := fl.x.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	id, upto, err := enter(tx, fl.which)
	if err != nil {
		return err
	}
	var have int
	if err := tx.QueryRow(`SELECT count(*) FROM messages WHERE folder = ?`, id).Scan(&have); err != nil {
		return err
	}
	if have != fl.after(upto) {
		if err := fl.removeGone(tx, id); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// after returns how many messages have a UID up to upto.
func (fl *filler) after(upto uint32) int {
	if upto == math.MaxUint32 {
		return fl.list.Len()
	}
	return fl.list.Search(upto + 1)
}

func (fl *filler) removeGone(tx *sql.Tx, id int64) error {
	rows, err := tx.Query(`SELECT uid FROM messages WHERE folder = ?`, id)
	if err != nil {
		return err
	}
	uids, err := column[uint32](rows)
	if err != nil {
		return err
	}
	for _, uid := range uids {
		if _, ok := fl.list.Index(uid); ok {
			continue
		}
		if err := remove(tx, id, uid); err != nil {
			return err
		}
		fl.did.Removed++
	}
	return nil
}

func remove(tx *sql.Tx, folder int64, uid uint32) error {
	if _, err := tx.Exec(`DELETE FROM texts WHERE rowid IN (SELECT id FROM messages WHERE folder = ? AND uid = ?)`, folder, uid); err != nil {
		return err
	}
	_, err := tx.Exec(`DELETE FROM messages WHERE folder = ? AND uid = ?`, folder, uid)
	return err
}

// batch takes in some messages; more tells that there are others.
func (fl *filler) batch(ctx context.Context) (more bool, err error) {
	_, upto, err := state(fl.x.db, fl.which)
	if err != nil {
		return false, err
	}
	from := fl.after(upto)
	if from == fl.list.Len() {
		return false, nil
	}
	type entry struct {
		uid    uint32
		text   string
		partly bool // also of one that cannot be read now
	}
	var entries []entry
	size := 0
	for i, m := range fl.list.From(from) { // read before the lock is taken
		text, whole, err := fl.textOf(i, m.UID)
		if err != nil && ctx.Err() != nil {
			return false, ctx.Err()
		}
		entries = append(entries, entry{m.UID, text, !whole || err != nil})
		if size += len(text); len(entries) == batchMessages || size >= batchText {
			break
		}
	}
	tx, err := fl.x.db.Begin()
	if err != nil {
		return false, err
	}
	defer tx.Rollback()
	id, now, err := state(tx, fl.which)
	if err != nil || now != upto {
		return err == nil, err // another process was here
	}
	for _, e := range entries {
		if err := add(tx, id, e.uid, e.text, e.partly); err != nil {
			return false, err
		}
		fl.did.Added++
	}
	last := entries[len(entries)-1].uid
	if _, err := tx.Exec(`UPDATE folders SET upto = ? WHERE id = ?`, last, id); err != nil {
		return false, err
	}
	return from+len(entries) < fl.list.Len(), tx.Commit()
}

func add(tx *sql.Tx, folder int64, uid uint32, text string, partly bool) error {
	r, err := tx.Exec(`INSERT INTO messages (folder, uid, partly) VALUES (?, ?, ?)`, folder, uid, partly)
	if err != nil {
		return err
	}
	id, err := r.LastInsertId()
	if err != nil || text == "" {
		return err
	}
	_, err = tx.Exec(`INSERT INTO texts (rowid, text) VALUES (?, ?)`, id, text)
	return err
}

// textOf returns the folded text of a message.
func (fl *filler) textOf(i int, uid uint32) (text string, whole bool, err error) {
	if data := fl.read.Small(fl.list, i, fl.buf); data != nil {
		return fl.text.collect(bytes.NewReader(data), int64(len(data)), data)
	}
	file, err := fl.f.Open(uid)
	if err != nil {
		return "", false, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", false, err
	}
	return fl.text.collect(file, info.Size(), nil)
}

// A collector puts the text of a message together.
type collector struct {
	walker mailtext.Walker
	fold   casemap.Folder
	text   []byte
}

var errFull = errors.New("the text is too long")

func (c *collector) collect(r io.ReaderAt, size int64, data []byte) (text string, whole bool, err error) {
	c.text = c.text[:0]
	err = c.walker.Walk(r, size, data, c)
	if errors.Is(err, errFull) {
		return string(c.text), false, nil
	}
	return string(c.text), err == nil, err
}

// Begin, Text and End are those of a mailtext.Sink.
func (c *collector) Begin(bool) { c.fold = casemap.Folder{} }

func (c *collector) Text(piece []byte) error {
	for len(piece) > 0 {
		n := min(len(piece), 16<<10)
		at := len(c.text)
		c.text = c.fold.Append(c.text, piece[:n])
		c.hideNUL(at)
		piece = piece[n:]
		if len(c.text) > MaxText {
			return errFull
		}
	}
	return nil
}

func (c *collector) End() error {
	at := len(c.text)
	c.text = append(c.fold.Flush(c.text), '\n')
	c.hideNUL(at)
	return nil
}

// hideNUL replaces NUL, at which the tokenizer stops, by what separates texts.
// No needle holds one.
func (c *collector) hideNUL(from int) {
	for i, b := range c.text[from:] {
		if b == 0 {
			c.text[from+i] = '\n'
		}
	}
}

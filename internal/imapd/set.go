package imapd

import (
	"cmp"
	"math"
	"slices"
	"sort"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
)

// maxRanges bounds the ranges of one set; the length of a line does so too.
const maxRanges = 50_000

// set takes a sequence set (RFC 3501 §9), of UIDs in a UID command.
func (p *parser) set() (imap.SeqSet, error) { return p.numbers(p.uid) }

// numbers takes a set of UIDs or of message numbers. The ranges are kept as
// the client wrote them, 0 standing for "*"; they are never expanded. "$" is
// what the last search saved (RFC 5182 §3), which may be nothing.
func (p *parser) numbers(uid bool) (imap.SeqSet, error) {
	set := imap.SeqSet{}
	for {
		if p.peek() == '$' {
			saved, err := p.savedSet(uid)
			if err != nil {
				return nil, err
			}
			set = append(set, saved...)
		} else {
			r, err := p.setRange()
			if err != nil {
				return nil, err
			}
			set = append(set, r)
		}
		if !p.eat(',') {
			return set, nil
		}
		if len(set) >= maxRanges {
			return nil, p.fail("more than %d ranges in a set", maxRanges)
		}
	}
}

func (p *parser) setRange() (imap.SeqRange, error) {
	first, err := p.setNumber()
	if err != nil {
		return imap.SeqRange{}, err
	}
	r := imap.SeqRange{Start: first, Stop: first}
	if p.eat(':') {
		r.Stop, err = p.setNumber()
	}
	return r, err
}

// setNumber takes a number from 1, or "*", which is 0.
func (p *parser) setNumber() (uint32, error) {
	if p.eat('*') {
		return 0, nil
	}
	n, err := p.number()
	if err == nil && n == 0 {
		p.pos--
		return 0, p.fail("expected a number from 1")
	}
	return n, err
}

// resolve replaces "*" by last, and sorts and joins the ranges.
func resolve(set imap.SeqSet, last uint32) imap.SeqSet {
	out := make(imap.SeqSet, 0, len(set))
	for _, r := range set {
		if r.Start == 0 {
			r.Start = last
		}
		if r.Stop == 0 {
			r.Stop = last
		}
		if r.Start > r.Stop {
			r.Start, r.Stop = r.Stop, r.Start // RFC 3501 §9: 4:2 is 2:4
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b imap.SeqRange) int { return cmp.Compare(a.Start, b.Start) })
	return join(out)
}

func join(sorted imap.SeqSet) imap.SeqSet {
	n := 0
	for _, r := range sorted {
		if n > 0 && uint64(r.Start) <= uint64(sorted[n-1].Stop)+1 {
			sorted[n-1].Stop = max(sorted[n-1].Stop, r.Stop)
			continue
		}
		sorted[n] = r
		n++
	}
	return sorted[:n]
}

// indexes is a set of messages by index into a view: half-open, ascending.
type indexes []struct{ from, to int }

// count returns how many messages there are.
func (x indexes) count() int {
	n := 0
	for _, r := range x {
		n += r.to - r.from
	}
	return n
}

// each calls f with each index, in order.
func (x indexes) each(f func(i int) error) error {
	for _, r := range x {
		for i := r.from; i < r.to; i++ {
			if err := f(i); err != nil {
				return err
			}
		}
	}
	return nil
}

// has reports whether index i is in the set.
func (x indexes) has(i int) bool {
	n := sort.Search(len(x), func(n int) bool { return x[n].to > i })
	return n < len(x) && x[n].from <= i
}

// bySeq finds the messages of a set of sequence numbers. A number beyond the
// last message is an error (RFC 3501 §9, seq-number).
func bySeq(view mailbox.List, set imap.SeqSet) (indexes, error) {
	last := uint32(view.Len())
	if len(set) == 0 {
		return nil, nil // "$", and nothing was saved
	}
	if last == 0 {
		return nil, bad("there is no such message: the mailbox is empty")
	}
	var out indexes
	for _, r := range resolve(set, last) {
		if r.Stop > last {
			return nil, bad("there is no message %d: the mailbox holds %d", r.Stop, last)
		}
		out = append(out, struct{ from, to int }{int(r.Start) - 1, int(r.Stop)})
	}
	return out, nil
}

// byUID finds the messages of a set of UIDs; those that do not exist are
// passed over (RFC 3501 §6.4.8).
func byUID(view mailbox.List, set imap.SeqSet) indexes {
	last := uint32(0)
	if n := view.Len(); n > 0 {
		last = view.At(n - 1).UID
	}
	var out indexes
	for _, r := range resolve(set, last) {
		from, to := view.Search(r.Start), view.Len()
		if r.Stop < math.MaxUint32 {
			to = view.Search(r.Stop + 1)
		}
		if from < to {
			out = append(out, struct{ from, to int }{from, to})
		}
	}
	return out
}

// appendSet appends numbers as a set. Runs that ascend become ranges.
func appendSet(dst []byte, numbers []uint32) []byte {
	w := setWriter{}
	for _, n := range numbers {
		dst = w.add(dst, n)
	}
	return w.end(dst)
}

// A setWriter writes a set one number at a time.
type setWriter struct {
	any         bool
	first, last uint32 // the range that is not written yet
}

func (w *setWriter) add(dst []byte, n uint32) []byte {
	if w.any && n == w.last+1 && n > w.last {
		w.last = n
		return dst
	}
	if w.any {
		dst = append(w.end(dst), ',')
	}
	w.any, w.first, w.last = true, n, n
	return dst
}

// end writes what is left.
func (w *setWriter) end(dst []byte) []byte {
	if !w.any {
		return dst
	}
	dst = appendUint(dst, w.first)
	if w.last > w.first {
		dst = appendUint(append(dst, ':'), w.last)
	}
	return dst
}

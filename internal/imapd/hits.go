package imapd

import (
	"iter"
	"math/bits"
)

// hits is a set of messages, by index into a view: one bit a message.
type hits struct {
	words []uint64
	n     int

	scores []uint8 // by index, as far as they are asked for
}

// add takes in an index that is not in the set.
func (h *hits) add(i int) {
	for w := i / 64; w >= len(h.words); {
		h.words = append(h.words, 0)
	}
	h.words[i/64] |= 1 << (i % 64)
	h.n++
}

// score notes how well the message at an index matches.
func (h *hits) score(i int, score uint8) {
	if i >= len(h.scores) {
		h.scores = append(h.scores, make([]uint8, i+1-len(h.scores))...)
	}
	h.scores[i] = score
}

// has reports whether index i is in the set.
func (h *hits) has(i int) bool {
	return i/64 < len(h.words) && h.words[i/64]&(1<<(i%64)) != 0
}

func (h *hits) count() int { return h.n }

// from returns the indexes in ascending order, without the first n of them.
func (h *hits) from(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for at, w := range h.words {
			if c := bits.OnesCount64(w); c <= n {
				n -= c
				continue
			}
			for ; w != 0; w &= w - 1 {
				if n > 0 {
					n--
					continue
				}
				if !yield(64*at + bits.TrailingZeros64(w)) {
					return
				}
			}
		}
	}
}

// sorted is a list of messages, by index into a view, in an order of its own.
type sorted []uint32

func (l sorted) count() int { return len(l) }

func (l sorted) from(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for _, i := range l[min(n, len(l)):] {
			if !yield(int(i)) {
				return
			}
		}
	}
}

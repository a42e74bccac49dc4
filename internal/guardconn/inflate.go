package guardconn

import (
	"errors"
	"io"
	"slices"
)

// An inflater decodes a DEFLATE stream (RFC 1951) that comes in pieces cut
// anywhere. compress/flate cannot be used for it: an error of its reader, such
// as a deadline that passed, is final, and its buffers cannot be given back
// while the client is silent. What an inflater holds then is the last 32 KB
// that the client sent, at most, as the format wants.
type inflater struct {
	in   []byte // what was fed, from pos on not yet taken
	pos  int
	acc  uint64 // bits taken from in, not yet used
	bits uint

	hist   []byte // what was decoded, as far back as it may be needed
	out    int    // of hist, how much was read
	state  inflateState
	last   bool // the block is the stream's last
	stored int  // octets left of a stored block
	codes  *codes
}

type inflateState uint8

const (
	atBlock inflateState = iota // a block's header is next
	inStored
	inCodes
	atEnd
)

const (
	historySize = 32 << 10
	maxInflate  = 16 << 10 // what one read decodes ahead, at most
)

var (
	errCorrupt = errors.New("compressed data is corrupt")
	// errStarved says that the input ends in the middle of something.
	errStarved = errors.New("more input is needed")
)

// codes are the two Huffman codes of a block.
type codes struct{ literal, distance huffman }

// feed adds input.
func (z *inflater) feed(p []byte) {
	n := copy(z.in, z.in[z.pos:])
	z.in, z.pos = append(z.in[:n], p...), 0
}

// read decodes into p. With no octets and no error it must be fed.
func (z *inflater) read(p []byte) (n int, err error) {
	for z.out == len(z.hist) {
		if err := z.step(); err == errStarved {
			break
		} else if err != nil {
			return 0, err
		}
	}
	n = copy(p, z.hist[z.out:])
	z.out += n
	return n, nil
}

// rest gives back what a silent client need not cost.
func (z *inflater) rest() {
	if z.out < len(z.hist) {
		return
	}
	if z.state == atBlock {
		z.codes = nil
	}
	if z.pos == len(z.in) {
		z.in, z.pos = nil, 0
	}
	if n := len(z.hist); cap(z.hist) > 2*n+512 || n > historySize*9/8 {
		z.hist = slices.Clone(z.hist[max(0, n-historySize):])
		z.out = len(z.hist)
	}
}

// step decodes some more.
func (z *inflater) step() error {
	if len(z.hist) > 2*historySize {
		n := copy(z.hist, z.hist[len(z.hist)-historySize:])
		z.hist, z.out = z.hist[:n], n
	}
	switch z.state {
	case inStored:
		return z.copyStored()
	case inCodes:
		return z.decode()
	case atEnd:
		return io.EOF
	}
	mark := *z
	err := z.header()
	if err == errStarved {
		z.pos, z.acc, z.bits = mark.pos, mark.acc, mark.bits
	}
	return err
}

// fill takes input until there are 48 bits, if there are.
func (z *inflater) fill() {
	for z.bits <= 56 && z.pos < len(z.in) {
		z.acc |= uint64(z.in[z.pos]) << z.bits
		z.pos++
		z.bits += 8
	}
}

func (z *inflater) take(n uint) (uint32, error) {
	if z.bits < n {
		if z.fill(); z.bits < n {
			return 0, errStarved
		}
	}
	v := uint32(z.acc & (1<<n - 1))
	z.acc >>= n
	z.bits -= n
	return v, nil
}

// header reads a block's header (RFC 1951 §3.2.3).
func (z *inflater) header() error {
	v, err := z.take(3)
	if err != nil {
		return err
	}
	switch v >> 1 {
	case 0:
		err = z.storedHeader()
	case 1:
		z.state = inCodes
		z.needCodes().fixed()
	case 2:
		err = z.dynamicHeader()
	default:
		return errCorrupt
	}
	if err == nil {
		z.last = v&1 == 1
	}
	return err
}

func (z *inflater) needCodes() *codes {
	if z.codes == nil {
		z.codes = new(codes)
	}
	return z.codes
}

// storedHeader: RFC 1951 §3.2.4.
func (z *inflater) storedHeader() error {
	if _, err := z.take(z.bits & 7); err != nil {
		return err
	}
	n, err := z.take(16)
	if err != nil {
		return err
	}
	inverse, err := z.take(16)
	if err != nil {
		return err
	}
	if n != inverse^0xffff {
		return errCorrupt
	}
	z.state, z.stored = inStored, int(n)
	return nil
}

func (z *inflater) copyStored() error {
	before := z.stored
	for budget := maxInflate; z.stored > 0 && z.bits > 0 && budget > 0; budget-- {
		v, _ := z.take(8)
		z.hist = append(z.hist, byte(v))
		z.stored--
	}
	n := min(z.stored, len(z.in)-z.pos, maxInflate)
	z.hist = append(z.hist, z.in[z.pos:z.pos+n]...)
	z.pos += n
	z.stored -= n
	if z.stored == 0 {
		z.endBlock()
		return nil
	}
	if z.stored == before {
		return errStarved
	}
	return nil
}

func (z *inflater) endBlock() {
	z.state = atBlock
	if z.last {
		z.state = atEnd
	}
}

// dynamicHeader: RFC 1951 §3.2.7.
func (z *inflater) dynamicHeader() error {
	v, err := z.take(14)
	if err != nil {
		return err
	}
	literals, distances, n := int(v&31)+257, int(v>>5&31)+1, int(v>>10)+4
	if literals > 286 || distances > 30 {
		return errCorrupt
	}
	var lengths [286 + 30]byte
	order := [...]byte{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	for _, at := range order[:n] {
		v, err := z.take(3)
		if err != nil {
			return err
		}
		lengths[at] = byte(v)
	}
	c := z.needCodes()
	if !c.literal.build(lengths[:19]) {
		return errCorrupt
	}
	clear(lengths[:19])
	if err := z.codeLengths(&c.literal, lengths[:literals+distances]); err != nil {
		return err
	}
	if lengths[256] == 0 || !c.literal.build(lengths[:literals]) || !c.distance.build(lengths[literals:literals+distances]) {
		return errCorrupt
	}
	z.state = inCodes
	return nil
}

// codeLengths reads the lengths of both codes, which are run-length encoded.
func (z *inflater) codeLengths(h *huffman, lengths []byte) error {
	for i := 0; i < len(lengths); {
		symbol, err := z.symbol(h)
		if err != nil {
			return err
		}
		if symbol < 16 {
			lengths[i] = byte(symbol)
			i++
			continue
		}
		run := [...]struct {
			bits uint
			from int
		}{{2, 3}, {3, 3}, {7, 11}}[symbol-16]
		extra, err := z.take(run.bits)
		if err != nil {
			return err
		}
		n, length := run.from+int(extra), byte(0)
		if symbol == 16 {
			if i == 0 {
				return errCorrupt
			}
			length = lengths[i-1]
		}
		if i+n > len(lengths) {
			return errCorrupt
		}
		for range n {
			lengths[i] = length
			i++
		}
	}
	return nil
}

// decode decodes symbols of a block.
func (z *inflater) decode() error {
	for from := len(z.hist); len(z.hist) < from+maxInflate; {
		pos, acc, bits := z.pos, z.acc, z.bits
		end, err := z.one()
		if err == errStarved {
			z.pos, z.acc, z.bits = pos, acc, bits
			if len(z.hist) > from {
				return nil
			}
			return err
		}
		if err != nil {
			return err
		}
		if end {
			z.endBlock()
			return nil
		}
	}
	return nil
}

// one decodes a literal, a match or the end of the block (RFC 1951 §3.2.5).
func (z *inflater) one() (end bool, err error) {
	symbol, err := z.symbol(&z.codes.literal)
	if err != nil {
		return false, err
	}
	if symbol < 256 {
		z.hist = append(z.hist, byte(symbol))
		return false, nil
	}
	if symbol == 256 {
		return true, nil
	}
	length, err := z.length(symbol - 257)
	if err != nil {
		return false, err
	}
	distance, err := z.distance()
	if err != nil {
		return false, err
	}
	at := len(z.hist) - distance
	if at < 0 {
		return false, errCorrupt
	}
	for length > 0 { // what is copied may be what was just written
		n := min(length, len(z.hist)-at)
		z.hist = append(z.hist, z.hist[at:at+n]...)
		length -= n
	}
	return false, nil
}

func (z *inflater) length(code int) (int, error) {
	switch {
	case code < 8:
		return code + 3, nil
	case code == 28:
		return 258, nil
	case code > 28:
		return 0, errCorrupt
	}
	extra := uint(code/4 - 1)
	v, err := z.take(extra)
	return (code%4+4)<<extra + 3 + int(v), err
}

func (z *inflater) distance() (int, error) {
	code, err := z.symbol(&z.codes.distance)
	if err != nil {
		return 0, err
	}
	if code > 29 {
		return 0, errCorrupt
	}
	if code < 4 {
		return code + 1, nil
	}
	extra := uint(code/2 - 1)
	v, err := z.take(extra)
	return (code%2+2)<<extra + 1 + int(v), err
}

// symbol decodes one symbol.
func (z *inflater) symbol(h *huffman) (int, error) {
	if z.bits < maxCode {
		z.fill()
	}
	if e := h.fast[z.acc&(1<<fastBits-1)]; e != 0 && uint(e&15) <= z.bits {
		z.acc >>= e & 15
		z.bits -= uint(e & 15)
		return int(e >> 4), nil
	}
	return z.slowSymbol(h)
}

// slowSymbol goes bit by bit.
func (z *inflater) slowSymbol(h *huffman) (int, error) {
	code, first, index := 0, 0, 0
	for n := uint(1); n <= maxCode; n++ {
		if n > z.bits {
			return 0, errStarved
		}
		code |= int(z.acc >> (n - 1) & 1)
		count := int(h.count[n])
		if code-count < first {
			z.acc >>= n
			z.bits -= n
			return int(h.symbols[index+code-first]), nil
		}
		index += count
		first = (first + count) << 1
		code <<= 1
	}
	return 0, errCorrupt
}

const (
	maxCode  = 15 // bits of a code, at most
	fastBits = 9
)

// huffman is a canonical Huffman code (RFC 1951 §3.2.2).
type huffman struct {
	count   [maxCode + 1]uint16 // codes of each length
	symbols [288]uint16         // in the order of their codes
	fast    [1 << fastBits]uint16
}

// build makes the code of these lengths, 0 being no code. It reports whether
// there is one: too many codes are none, and too few only where there is but
// one of a single bit, or none at all (RFC 1951 §3.2.7).
func (h *huffman) build(lengths []byte) bool {
	h.count, h.fast = [maxCode + 1]uint16{}, [1 << fastBits]uint16{}
	used := 0
	for _, n := range lengths {
		h.count[n]++
	}
	used = len(lengths) - int(h.count[0])
	h.count[0] = 0
	left := 1
	var next, code [maxCode + 2]int
	for n := 1; n <= maxCode; n++ {
		left = left<<1 - int(h.count[n])
		if left < 0 {
			return false
		}
		next[n+1] = next[n] + int(h.count[n])
		code[n+1] = (code[n] + int(h.count[n])) << 1
	}
	if left > 0 && (used > 1 || used == 1 && h.count[1] == 0) {
		return false
	}
	for symbol, n := range lengths {
		if n == 0 {
			continue
		}
		h.symbols[next[n]] = uint16(symbol)
		h.quicken(symbol, uint(n), code[n])
		next[n]++
		code[n]++
	}
	return true
}

// quicken puts a short code into the table that is looked up by bits, the
// first being the lowest.
func (h *huffman) quicken(symbol int, n uint, code int) {
	if n > fastBits {
		return
	}
	reversed := 0
	for i := range n {
		reversed |= code >> i & 1 << (n - 1 - i)
	}
	for at := reversed; at < len(h.fast); at += 1 << n {
		h.fast[at] = uint16(symbol)<<4 | uint16(n)
	}
}

// fixed: RFC 1951 §3.2.6.
func (c *codes) fixed() {
	var lengths [288]byte
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	c.literal.build(lengths[:])
	for i := range 32 {
		lengths[i] = 5
	}
	c.distance.build(lengths[:32])
}

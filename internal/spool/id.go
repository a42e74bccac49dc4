package spool

import (
	"fmt"
	"io"
	"time"
)

// IDLength is the length of a queue id.
const IDLength = timeDigits + randomDigits

const (
	timeDigits   = 11 // microseconds since 1970 in base 32: enough until 3111
	randomDigits = 20 // 96 random bits, rounded up
)

// digits are in the order of their octets, so that ids sort by time; i, l, o
// and u are left out, as they are easily misread.
const digits = "0123456789abcdefghjkmnpqrstvwxyz"

// NewID makes a queue id: the time in microseconds and 96 random bits, as 31
// lower-case letters and digits. Ids sort by time, and nobody can guess one.
func NewID(now time.Time, rand io.Reader) (string, error) {
	var random [12]byte
	if _, err := io.ReadFull(rand, random[:]); err != nil {
		return "", fmt.Errorf("cannot make a queue id: %w", err)
	}
	var id [IDLength]byte
	us := uint64(max(now.UnixMicro(), 0))
	for i := timeDigits - 1; i >= 0; i-- {
		id[i] = digits[us&31]
		us >>= 5
	}
	bits, have, next := uint32(0), 0, 0
	for i := timeDigits; i < IDLength; i++ {
		if have < 5 && next < len(random) {
			bits = bits<<8 | uint32(random[next])
			next++
			have += 8
		}
		if have < 5 { // the last digit holds the one bit that is left
			bits, have = bits<<5, have+5
		}
		have -= 5
		id[i] = digits[bits>>have&31]
	}
	return string(id[:]), nil
}

// ValidID reports whether s is shaped like a queue id, and so is safe as a
// file name.
func ValidID(s string) bool {
	if len(s) != IDLength {
		return false
	}
	for i := 0; i < len(s); i++ {
		if digitValue(s[i]) < 0 {
			return false
		}
	}
	return true
}

// Arrived returns the time in a valid queue id.
func Arrived(id string) time.Time {
	us := int64(0)
	for i := 0; i < timeDigits; i++ {
		us = us<<5 | int64(digitValue(id[i]))
	}
	return time.UnixMicro(us).UTC()
}

// digitValue returns the value of a digit, or -1.
func digitValue(c byte) int {
	for i := 0; i < len(digits); i++ {
		if digits[i] == c {
			return i
		}
	}
	return -1
}

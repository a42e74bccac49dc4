package mimescan

// Address is the first entry of an address field, as ENVELOPE has it
// (RFC 3501 §7.4.2): a group's name stands in Mailbox, without a Domain.
type Address struct{ Name, Mailbox, Domain string }

// Addresses calls f with the addresses of the value of an address field.
func Addresses(value []byte, f func(Address)) {
	addressList(Unfold(value), func(a address) {
		if a.group == 0 {
			f(Address{a.name, a.mailbox, a.domain})
		}
	})
}

// FirstAddress returns the first entry of the value of an address field.
func FirstAddress(value []byte) (first Address, ok bool) {
	x := &lexer{s: Unfold(value)}
	x.skip()
	for inGroup := false; !ok && !x.done(); {
		inGroup = x.entry(inGroup, func(a address) {
			if !ok {
				first, ok = Address{a.name, a.mailbox, a.domain}, true
			}
		})
		x.skip()
	}
	return first, ok
}

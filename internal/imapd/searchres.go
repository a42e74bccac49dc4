package imapd

import "github.com/emersion/go-imap/v2"

// maxSaved bounds what SAVE keeps: ranges of UIDs, eight octets each.
const maxSaved = 64 << 10

// savedSet takes "$": the UIDs, or the numbers, of the messages that the last
// search saved and that are still there (RFC 5182 §2.1).
func (p *parser) savedSet(uid bool) (imap.SeqSet, error) {
	sel := p.s.sel
	if sel == nil {
		return nil, p.fail("no mailbox is selected, so there is no search result")
	}
	p.pos++
	if uid {
		return sel.saved, nil
	}
	var set imap.SeqSet
	for _, r := range byUID(sel.view, sel.saved) {
		set = append(set, imap.SeqRange{Start: uint32(r.from + 1), Stop: uint32(r.to)})
	}
	return set, nil
}

// save keeps the messages that were found for "$". With MIN, MAX or PARTIAL
// alone it is only what these tell (RFC 5182 §2.4, RFC 9394 §3.2).
func (sel *selected) save(r *returns, found outcome) error {
	sel.saved = nil
	var set imap.SeqSet
	last := -2 // index
	err := r.saves(found, func(i int) error {
		uid := sel.view.At(i).UID
		if i == last+1 {
			set[len(set)-1].Stop = uid // no message is in between
		} else {
			set = append(set, imap.SeqRange{Start: uid, Stop: uid})
		}
		last = i
		if len(set) > maxSaved {
			return no(codeNotSaved, "the result is too large to be saved")
		}
		return nil
	})
	if err == nil {
		sel.saved = set
	}
	return err
}

// saves calls f with the messages that SAVE keeps.
func (r *returns) saves(found outcome, f func(i int) error) error {
	if found.count() == 0 {
		return nil
	}
	if r.all || r.counts || !r.min && !r.max && r.page == nil {
		return each(found, page{1, found.count()}, f)
	}
	if r.page != nil {
		if err := each(found, *r.page, f); err != nil {
			return err
		}
	}
	if r.min {
		if err := each(found, page{1, 1}, f); err != nil {
			return err
		}
	}
	if r.max {
		return each(found, page{-1, -1}, f)
	}
	return nil
}

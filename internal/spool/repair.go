package spool

import (
	"fmt"
	"os"
	"slices"
)

// Repair brings the directories into a legal state after a crash: it is the
// table of peyk-queue(5). It calls report for each thing it does, and returns
// the ids in the queue. Only the holder of the lock may call it.
//
// The rule is that a journal follows its message: to wherever the message is,
// or, when there is none, out of the world, as Finish was cut short.
func (q *Queue) Repair(report func(name, did string)) ([]string, error) {
	for _, p := range []Place{InHold, InCorrupt} {
		if err := q.repairAside(p, report); err != nil {
			return nil, err
		}
	}
	list, err := names(q.path(inQueue))
	if err != nil {
		return nil, fmt.Errorf("cannot read the queue: %w", err)
	}
	var ids, logs []string
	for _, name := range list {
		if id, ok := journalOf(name); ok {
			logs = append(logs, id)
		} else if ValidID(name) {
			ids = append(ids, name)
		} else if err := q.stranger(name, report); err != nil {
			return nil, err
		}
	}
	slices.Sort(ids)
	for _, id := range logs {
		if _, beside := slices.BinarySearch(ids, id); beside {
			continue
		}
		if err := q.repairLog(inQueue, id, report); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// stranger sets aside what does not belong into the queue.
func (q *Queue) stranger(name string, report func(name, did string)) error {
	report(name, "moved to corrupt: its name is not a queue id")
	return q.moveAside(inQueue, InCorrupt, name)
}

// repairAside brings journals back whose message is no longer beside them.
func (q *Queue) repairAside(p Place, report func(name, did string)) error {
	list, err := names(q.path(p))
	if err != nil {
		return fmt.Errorf("cannot read the queue: %w", err)
	}
	for _, name := range list {
		id, ok := journalOf(name)
		if !ok {
			continue
		}
		if err := q.repairLog(p, id, report); err != nil {
			return err
		}
	}
	return nil
}

// repairLog looks at the journal of id, which is in place p.
func (q *Queue) repairLog(p Place, id string, report func(name, did string)) error {
	if q.has(p, id) || p == inQueue && q.has(InDrop, id) {
		return nil
	}
	for _, other := range []Place{inQueue, InDrop, InHold, InCorrupt} {
		if !q.has(other, id) || q.has(logPlace(other), id+logSuffix) {
			continue
		}
		report(id+logSuffix, "moved after its message to "+string(logPlace(other)))
		return q.moveAside(p, logPlace(other), id+logSuffix)
	}
	if p == InCorrupt {
		return nil // evidence stays
	}
	report(id+logSuffix, "removed: its message is finished")
	return ignoreAbsent(q.disk.Remove(q.path(p, id+logSuffix)))
}

func (q *Queue) has(p Place, name string) bool {
	_, err := os.Lstat(q.path(p, name))
	return err == nil
}

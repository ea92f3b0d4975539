package ceiling

import "strings"

// loan is an annotation of KEDA's that was set for a ceiling of 0.
type loan struct {
	bound
	// before is the value that comes back, which did not pause; nil if there was
	// none.
	before *string
}

// String is how a loan is noted.
func (l loan) String() string {
	if l.before == nil {
		return l.key
	}
	return l.key + "=" + *l.before
}

// readLoans reads what was noted; what cannot be read is none of ours.
func readLoans(k kind, noted string) (loans []loan) {
	for text := range strings.SplitSeq(noted, ",") {
		key, before, had := strings.Cut(text, "=")
		for _, b := range pauses(k) {
			if b.key != key || had && b.holds(map[string]string{key: before}) {
				continue
			}
			l := loan{bound: b}
			if had {
				l.before = &before
			}
			loans = append(loans, l)
		}
	}
	return loans
}

// stands reports whether an annotation is as it was set, and nobody else has
// said the same since. One that is gone was put back.
func (t *target) stands(l loan) (stands, gone bool) {
	value, ok := t.Annotations[l.key]
	return ok && value == l.pause && !t.hands.theirs[l.key], !ok
}

// taken reports whether the owner has written an annotation that we had set: what
// they wrote holds from then on.
func (t *target) taken(r *record) bool {
	for _, l := range r.loans {
		if stands, gone := t.stands(l); !stands && !gone {
			return true
		}
	}
	return false
}

// resumes reports whether the owner has said, while the ceiling is 0, that the
// object is not to be paused.
func (t *target) resumes(r *record) bool {
	if r == nil || r.ceiling != 0 || len(r.loans) > 0 {
		return false
	}
	for _, b := range pauses(t.kind) {
		if _, ok := t.Annotations[b.key]; ok && !b.holds(t.Annotations) {
			return true
		}
	}
	return false
}

// pause brings KEDA's annotations to what the change needs, and returns those
// that are ours then.
func (t *target) pause(c *change, r *record) (ours []string) {
	if c.ceiling == nil || *c.ceiling > 0 || !t.mayPause(r) {
		t.resume(c, r)
		return nil
	}
	for i, b := range pauses(t.kind) {
		l := loan{bound: b}
		value, ok := t.Annotations[b.key]
		switch known := r.loan(b.key); {
		case known != nil:
			l = *known
		case ok && i > 0:
			continue // the first is enough, mostly
		case ok:
			l.before = &value
		}
		t.set(c, b.key, b.pause)
		ours = append(ours, l.String())
	}
	return ours
}

// mayPause reports whether a ceiling of 0 may be made a pause.
func (t *target) mayPause(r *record) bool {
	if r != nil && len(r.loans) > 0 {
		return !t.taken(r)
	}
	return t.held(stops) == "" && t.held(halves) == "" && !t.resumes(r)
}

// resume gives back what was set for a pause, if it is still there.
func (t *target) resume(c *change, r *record) {
	if r == nil {
		return
	}
	for _, l := range r.loans {
		switch stands, _ := t.stands(l); {
		case !stands:
		case l.before == nil:
			t.drop(c, l.key)
		default:
			t.set(c, l.key, *l.before)
		}
	}
}

// loan returns the one of an annotation; nil if it is not ours.
func (r *record) loan(key string) *loan {
	if r == nil {
		return nil
	}
	for i := range r.loans {
		if r.loans[i].key == key {
			return &r.loans[i]
		}
	}
	return nil
}

package ledger

import (
	"cmp"
	"maps"
	"slices"
)

const (
	// maxKeys bounds the sums of a page. The last ones are kept for groups whose own key finds no
	// place: first they are summed without their owner, then without their namespace, then without
	// policy and location, which leaves at most eight keys.
	maxKeys      = 1000
	maxOwnKeys   = maxKeys * 8 / 10
	maxOwnerless = maxKeys * 95 / 100
	maxNameless  = maxKeys - 8
	// maxKeysOfOne bounds the keys with owners of one namespace. Nobody takes the places of all others.
	maxKeysOfOne = maxOwnKeys / 2
	// Others stands for the names of what is summed together.
	Others = "(others)"
)

// sums are the sums of a page by key.
type sums map[Key]*Sum

// add adds a group and its account.
func (s sums) add(g Group, a Account) { s.place(keyOf(g)).Add(g, a) }

// merge adds a sum.
func (s sums) merge(other Sum) { s.place(other.Key).Merge(other) }

// place returns the sum for a key, or for the nearest key that finds a place.
func (s sums) place(key Key) *Sum {
	if _, ok := s[key]; !ok && len(s) >= maxKeysOfOne && s.countOf(key.Namespace) >= maxKeysOfOne {
		key.Owner = Others
	}
	for _, limit := range []int{maxOwnKeys, maxOwnerless, maxNameless} {
		if sum, ok := s[key]; ok {
			return sum
		}
		if len(s) < limit {
			break
		}
		switch limit {
		case maxOwnKeys:
			key.Owner = Others
		case maxOwnerless:
			key.Namespace = Others
		default:
			key = key.withoutNames()
		}
	}
	if s[key] == nil {
		s[key] = &Sum{Key: key}
	}
	return s[key]
}

// countOf counts the keys of a namespace that have an owner.
func (s sums) countOf(namespace string) (count int) {
	for key := range s {
		if key.Namespace == namespace && key.Owner != Others {
			count++
		}
	}
	return count
}

// fold leaves at most a number of keys with names: those with the most energy. The rest is summed
// without names, which leaves at most eight keys more.
func (s sums) fold(most int) {
	named := slices.DeleteFunc(s.sorted(), func(sum Sum) bool { return sum.Key == sum.withoutNames() })
	slices.SortStableFunc(named, func(a, b Sum) int { return cmp.Compare(b.Joules, a.Joules) })
	for _, sum := range named[min(most, len(named)):] {
		delete(s, sum.Key)
		sum.Key = sum.withoutNames()
		s.merge(sum)
	}
}

// clone returns a copy.
func (s sums) clone() sums {
	c := make(sums, len(s))
	for key, sum := range s {
		copied := *sum
		c[key] = &copied
	}
	return c
}

// sorted returns the sums by key.
func (s sums) sorted() []Sum {
	all := make([]Sum, 0, len(s))
	for _, key := range slices.SortedFunc(maps.Keys(s), Key.compare) {
		all = append(all, *s[key])
	}
	return all
}

package forecast

import "slices"

// flatten resolves overlaps: every instant goes to the first of the given steps that covers it. The
// result is ordered.
//
// All starts and ends cut time into pieces. The steps claim their pieces in the order given. A
// union-find over the pieces skips the claimed ones, so each piece is claimed once, however much
// the steps overlap.
func flatten(given []step) []step {
	cuts := make([]int64, 0, 2*len(given))
	for _, s := range given {
		cuts = append(cuts, s.start, s.end)
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	return pieces(cuts, claim(cuts, given), given)
}

// claim returns, for each piece [cuts[k], cuts[k+1]), 1 + the index of the step that owns the
// piece, or 0 if the piece is a gap. Nothing begins at the last cut.
func claim(cuts []int64, given []step) []int {
	owners := make([]int, len(cuts))
	next := make([]int, len(cuts)) // leads to the first free piece at or after this one
	for k := range next {
		next[k] = k
	}
	for i, s := range given {
		k, _ := slices.BinarySearch(cuts, s.start)
		for k = free(next, k); cuts[k] < s.end; k = free(next, k) {
			owners[k] = i + 1
			next[k] = k + 1
		}
	}
	return owners
}

// free follows next from k to its end, and halves the path on the way.
func free(next []int, k int) int {
	for next[k] != k {
		next[k] = next[next[k]]
		k = next[k]
	}
	return k
}

// pieces turns owned pieces into steps. Neighbours with one owner become one step.
func pieces(cuts []int64, owners []int, given []step) []step {
	var flat []step
	previous := 0
	for k, owner := range owners {
		switch owner {
		case 0: // a gap
		case previous:
			flat[len(flat)-1].end = cuts[k+1]
		default:
			flat = append(flat, step{start: cuts[k], end: cuts[k+1], intensity: given[owner-1].intensity})
		}
		previous = owner
	}
	return flat
}

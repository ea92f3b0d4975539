package policy

import (
	"fmt"
)

// String says what the median is of.
func (t RunTimes) String() string {
	if t.Count == 1 {
		return "the one earlier run"
	}
	return fmt.Sprintf("median of %d earlier runs", t.Count)
}

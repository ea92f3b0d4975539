package policy

import (
	"fmt"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
)

// Widths are how many pods a Job asks to run at once, by how clean the electricity is.
type Widths struct {
	Least, Most int
	// Speedup tells how much work the Job does at a width.
	Speedup plan.Speedup
}

// parseWidths reads the widths that work asks for, nil if it asks for none. read reads one annotation.
func parseWidths(read func(key string, parse func(value string) error)) *Widths {
	var w Widths
	read(v1alpha1.ParallelismAnnotation, func(value string) (err error) {
		w.Least, w.Most, err = plan.ParseWidths(value)
		return err
	})
	read(v1alpha1.SpeedupAnnotation, func(value string) error {
		speedup, err := plan.ParseSpeedup(value)
		if first := speedup.FirstWidth(); err == nil && w.Most > 0 && first > 1 && first != w.Least {
			err = fmt.Errorf("its first number of pods is %d: want 1, or the least of %s, which is %d", first, v1alpha1.ParallelismAnnotation, w.Least)
		}
		if err == nil {
			w.Speedup = speedup
		}
		return err
	})
	if w.Most == 0 {
		return nil
	}
	return &w
}

package policy

import (
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/utils/ptr"

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

// CompletionsOf returns how many completions a Job has to have, and how many it has.
func CompletionsOf(job *batchv1.Job) (all, succeeded int) {
	all = int(max(ptr.Deref(job.Spec.Completions, 1), 1))
	return all, int(min(max(job.Status.Succeeded, 0), int32(all)))
}

// ElasticOf returns a Job that runs at a width as the planner needs it. What the Job asks for must have
// widths, and no mistakes.
func (p *Policy) ElasticOf(job *batchv1.Job, ask Ask, width int) plan.Elastic {
	task, widths := p.TaskOf(job), ask.Widths
	all, succeeded := CompletionsOf(job)
	total, most := task.Duration.Seconds(), float64(widths.Most)
	// How long one pod takes for one completion, if as many run as may.
	completion := total * widths.Speedup.At(widths.Least) / float64(all) * most / widths.Speedup.At(widths.Most)
	remaining := task.Duration - time.Duration(total*float64(succeeded)/float64(all)*float64(time.Second))
	if said := ask.Remaining; said != nil {
		remaining = max(remaining, *said)
	}
	return plan.Elastic{
		Least: widths.Least, Most: max(widths.Least, min(widths.Most, all-succeeded)), Speedup: widths.Speedup, Remaining: remaining,
		Finish:    task.LatestStart.Add(task.Duration - time.Duration(min(completion, total)*float64(time.Second))),
		IsRunning: true, Width: width,
	}
}

package backtest

import (
	"context"
	"slices"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// A replay steps through time. All players act at its moments: whenever a slot begins, an actual
// intensity or a forecast becomes known, or a job arrives. In between, a player acts when something
// that it has planned is due.
type replay struct {
	setup          Setup
	jobs           []Job
	order          []int // the jobs by arrival
	arrived        int   // how many of them have arrived
	moments        []time.Time
	news           news
	players        []actor
	maxSlack       time.Duration
	longestStay    time.Duration // the longest time from the arrival of a job to its end
	lastPrediction forecast.Prediction
}

// An actor is a policy at work.
type actor interface {
	arrive(index int)
	// act does what is due. With all, something became known, or a job has arrived.
	act(k *knowledge, all bool)
	// isIdle reports whether no job is to be started, paused or resumed.
	isIdle() bool
	// nextWake returns when something is due next, if nothing becomes known before; zero if never.
	nextWake() time.Time
	result() Run
}

func newActor(policy Policy, s Setup, jobs []Job) actor {
	if s.Widening != nil {
		switch policy.Kind {
		case Gridlatch, Foresight, Oracle:
			return newWidener(policy, s, jobs)
		}
	}
	if s.Pausing != nil {
		switch policy.Kind {
		case Gridlatch, Greedy, Foresight:
			return newPauser(policy, s, jobs)
		}
	}
	return newPlayer(policy, s, jobs)
}

func newReplay(s Setup, jobs []Job, policies []Policy) *replay {
	if s.Model == nil {
		s.Model = new(forecast.Model)
	}
	r := &replay{setup: s, jobs: jobs, order: arrivals(jobs), news: newNews(s)}
	var end time.Time
	for _, job := range jobs {
		r.maxSlack = max(r.maxSlack, job.Slack)
		r.longestStay = max(r.longestStay, job.Slack+job.Duration)
		last := job.LatestStart()
		if s.Pausing != nil || s.Widening != nil {
			last = last.Add(job.Duration)
		}
		if last.After(end) {
			end = last
		}
	}
	r.moments = moments(s, jobs, jobs[r.order[0]].Arrival, end)
	for _, policy := range policies {
		r.players = append(r.players, newActor(policy, s, jobs))
	}
	return r
}

// moments returns all times in [from, to] at which something becomes known or a job arrives,
// ascending.
func moments(s Setup, jobs []Job, from, to time.Time) []time.Time {
	var all []time.Time
	for _, slot := range s.Actuals.Series.Slots() {
		all = append(all, slot.Start, slot.Start.Add(s.ActualDelay))
	}
	for _, document := range s.Documents {
		all = append(all, document.Issued.Add(s.ForecastDelay))
	}
	for _, issue := range s.Weather {
		all = append(all, issue.Issued.Add(s.WeatherDelay))
	}
	for _, job := range jobs {
		all = append(all, job.Arrival)
	}
	all = slices.DeleteFunc(all, func(t time.Time) bool { return t.Before(from) || t.After(to) })
	slices.SortFunc(all, time.Time.Compare)
	return slices.CompactFunc(all, time.Time.Equal)
}

func (r *replay) run(ctx context.Context) error {
	for i, moment := range r.moments {
		if err := ctx.Err(); err != nil {
			return err
		}
		r.act(moment, true)
		for {
			wake, ok := r.wake()
			if !ok || i+1 < len(r.moments) && !wake.Before(r.moments[i+1]) {
				break
			}
			r.act(wake, false)
		}
		if r.setup.Progress != nil {
			r.setup.Progress(float64(i+1) / float64(len(r.moments)))
		}
	}
	return nil
}

// wake returns when something that any player has planned is due next.
func (r *replay) wake() (first time.Time, ok bool) {
	for _, p := range r.players {
		if wake := p.nextWake(); !wake.IsZero() && (first.IsZero() || wake.Before(first)) {
			first = wake
		}
	}
	return first, !first.IsZero()
}

// act lets all players act, or only the players for which something is due.
func (r *replay) act(now time.Time, all bool) {
	r.news.tell(r.setup.Model, now)
	for ; r.arrived < len(r.order) && !r.jobs[r.order[r.arrived]].Arrival.After(now); r.arrived++ {
		for _, p := range r.players {
			p.arrive(r.order[r.arrived])
		}
	}
	k := &knowledge{replay: r, now: now}
	for _, p := range r.players {
		if wake := p.nextWake(); !p.isIdle() && (all || !wake.IsZero() && !wake.After(now)) {
			p.act(k, all)
		}
	}
}

// knowledge is what is known at a moment. It is computed when it is first asked for.
type knowledge struct {
	replay     *replay
	now        time.Time
	predicted  bool
	prediction *forecast.Series
	planners   map[bool]*plan.Planner // by whether they see the future
}

// series returns what the model expects; empty if the model knows nothing.
func (k *knowledge) series() *forecast.Series {
	if !k.predicted {
		p := k.replay.setup.Model.Predict(k.now, k.replay.setup.MaxAge)
		k.replay.lastPrediction, k.prediction, k.predicted = p, p.Series, true
	}
	return k.prediction
}

// future returns what will be, if the policy sees the future, or what is expected. It ends after
// the last job that waits now: a planner with ceilings cuts all that it is given into pieces.
func (k *knowledge) future(foresees bool) *forecast.Series {
	if !foresees {
		return k.series()
	}
	actual := k.replay.setup.Actuals.Series
	if k.replay.setup.Ceiling.IsEmpty() {
		return actual
	}
	return window(actual, k.now, k.now.Add(k.replay.longestStay))
}

// planner returns a planner like the one of production.
func (k *knowledge) planner(foresees bool) *plan.Planner {
	p, ok := k.planners[foresees]
	if !ok {
		until := k.now.Add(k.replay.maxSlack)
		p = plan.NewPlanner("", k.future(foresees), "nothing is known", k.replay.setup.Terms, k.now, until)
		if !foresees {
			p.WithErrors(k.replay.lastPrediction.Differences)
		}
		if k.planners == nil {
			k.planners = map[bool]*plan.Planner{}
		}
		k.planners[foresees] = p
	}
	return p
}

// intensityNow returns the actual intensity now if it is known already, else the expected one, else
// the newest known one. ok is false if there is none.
func (k *knowledge) intensityNow() (intensity float64, ok bool) {
	newest := k.replay.news.newest
	if k.now.Before(newest.End) {
		return newest.Intensity, true
	}
	if intensity, ok = k.series().At(k.now); ok {
		return intensity, true
	}
	return newest.Intensity, !newest.End.IsZero()
}

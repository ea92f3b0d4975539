package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/test/env"
)

// A demo is one telling of the story.
type demo struct {
	scenario
	*narrator
	cluster *env.Cluster
	// known is the forecast as it was written, which the story is checked against.
	known *forecast.Series
	// ends stop what the story alone needs.
	ends []func() error
	// submitted is when the Jobs were, started when the one that can wait was seen to be let go.
	submitted, started time.Time
}

// A surprise is something that did not happen as it should.
type surprise struct{ expected, seen string }

// Error says both.
func (s surprise) Error() string { return "expected: " + s.expected + "\ndemo: seen:     " + s.seen }

func (d *demo) run(ctx context.Context) error {
	fmt.Fprintln(d.out, d.bold("Gridlatch: work that can wait, waits for cleaner electricity."))
	for _, step := range []func(context.Context) error{
		d.startCluster, d.install, d.askProvider, d.submit, d.follow, d.sumUp,
	} {
		if err := step(ctx); err != nil {
			d.countdownOver()
			return errors.Join(err, d.end())
		}
	}
	d.lookAround()
	return d.end()
}

// end stops what the story alone needs, the last first.
func (d *demo) end() error {
	var failed []error
	for _, end := range slices.Backward(d.ends) {
		failed = append(failed, end())
	}
	d.ends = nil
	return errors.Join(failed...)
}

func (d *demo) startCluster(ctx context.Context) error {
	d.step("Start a Kubernetes cluster")
	_, err := up(ctx)
	if err != nil {
		return err
	}
	if d.cluster, err = attach(); err != nil {
		return err
	}
	if err := v1alpha1.AddToScheme(d.cluster.Client.Scheme()); err != nil {
		return fmt.Errorf("build scheme: %w", err)
	}
	server, err := discovery.NewDiscoveryClientForConfig(d.cluster.Config)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	version, err := server.ServerVersion()
	if err != nil {
		return fmt.Errorf("ask for the version: %w", err)
	}
	d.say("Kubernetes %s is up in %s: the real control plane, with three simulated nodes.", version.GitVersion, clusterDir)
	return nil
}

func (d *demo) install(ctx context.Context) error {
	d.step("Install Gridlatch")
	g, err := replaceController(ctx, d.cluster)
	if err != nil {
		return err
	}
	// Work of an earlier demo, and what its policy says of an earlier forecast, would only confuse.
	for _, old := range []string{"job/can-wait", "job/ordinary", "carbonpolicy/default"} {
		if _, err := d.cluster.Kubectl(ctx, "delete", old, "--ignore-not-found", "--cascade=foreground", "--timeout=30s"); err != nil {
			return err
		}
	}
	d.say("Its manifests are applied. The program runs beside the cluster (process %d), with the rights they give it.", g.PID)
	return nil
}

// awaitPolicy waits until the controller reports what it should.
func (d *demo) awaitPolicy(ctx context.Context, as func(*v1alpha1.CarbonPolicy) bool) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return unmet(env.Poll(ctx, func(ctx context.Context) error {
		var policy v1alpha1.CarbonPolicy
		if err := d.cluster.Client.Get(ctx, client.ObjectKey{Name: v1alpha1.DefaultPolicy}, &policy); err != nil {
			return fmt.Errorf("get policy: %w", err)
		}
		if !as(&policy) {
			return surprise{"the controller reports on the new policy and forecast", fmt.Sprintf("status %+v", policy.Status)}
		}
		return nil
	}))
}

// kubectl shows a command and what it prints.
func (d *demo) kubectl(ctx context.Context, args ...string) error {
	output, err := d.cluster.Kubectl(ctx, args...)
	if err != nil {
		return err
	}
	d.gap()
	d.command("kubectl "+strings.Join(args, " "), output)
	return nil
}

func (d *demo) submit(ctx context.Context) error {
	canWait, ordinary := d.manifests()
	d.step("Submit two Jobs of three pods each")
	d.say("One says in its annotations that it can wait:")
	d.gap()
	d.show("  ", canWait)
	d.gap()
	d.say("The other, an ordinary one, is the same without the three gridlatch.dev annotations.")
	d.gap()
	output, err := d.cluster.KubectlInput(ctx, canWait+"---\n"+ordinary, "create", "-f", "-")
	if err != nil {
		return err
	}
	d.submitted = time.Now()
	d.command("kubectl create -f can-wait.yaml -f ordinary.yaml", output)
	return nil
}

// follow tells of the wait, if there should be one, until the Job that can wait has been let go.
func (d *demo) follow(ctx context.Context) error {
	first, err := d.await(ctx, 30*time.Second, snapshot.settled)
	if err != nil {
		return err
	}
	if err := d.judge(first); err != nil {
		return err
	}
	switch {
	case !first.wasHeld:
		d.started = d.submitted
		d.step("Both run at once: now is as clean as it gets before the deadline")
		return d.tellStarted(ctx)
	case !first.held():
		d.started = first.started()
		d.step("Both run: it got cleaner within seconds, and the Job that can wait was held for no longer")
		return d.tellStarted(ctx)
	}
	if err := d.tellHeld(ctx, first); err != nil {
		return err
	}
	return d.awaitRelease(ctx, first)
}

// judge compares what was decided on the Job that can wait with what the forecast says.
func (d *demo) judge(first snapshot) error {
	atOnce, _ := d.known.Mean(d.submitted, d.submitted.Add(d.duration))
	best := cleanest(d.known, d.submitted, d.submitted.Add(d.deadline-d.duration), d.duration)
	gain := 0.0
	if atOnce > 0 && best < atOnce {
		gain = (atOnce - best) / atOnce
	}
	// The policy's least gain is 1 %. Close to it, either is right.
	switch {
	case first.wasHeld && gain < 0.005:
		return surprise{fmt.Sprintf("it starts at once, since now is as clean (%.0f) as it gets in time (%.0f)", atOnce, best), first.String()}
	case !first.wasHeld && gain > 0.02:
		return surprise{fmt.Sprintf("its pods are gated, since it gets cleaner in time (%.0f) than now (%.0f)", best, atOnce), first.String()}
	case !first.held():
		return nil
	}
	mean, _ := d.known.Mean(first.planned, first.planned.Add(d.duration))
	if mean > best+0.05*math.Abs(atOnce) {
		return surprise{fmt.Sprintf("a planned start as clean as it gets in time, %.0f gCO2eq/kWh", best),
			fmt.Sprintf("%s UTC, at %.0f gCO2eq/kWh", first.planned.UTC().Format(time.TimeOnly), mean)}
	}
	return nil
}

func (d *demo) tellStarted(ctx context.Context) error {
	d.draw(d.started, "both run now")
	if err := d.kubectl(ctx, "get", "pods"); err != nil {
		return err
	}
	description, err := d.cluster.Kubectl(ctx, "describe", "job", "can-wait")
	if err != nil {
		return err
	}
	d.gap()
	d.command("kubectl describe job can-wait   # in part", relevant(description, "Name"))
	return nil
}

func (d *demo) tellHeld(ctx context.Context, first snapshot) error {
	d.step("The ordinary Job runs at once. The one that can wait is held: its pods are gated")
	if err := d.kubectl(ctx, "get", "pods"); err != nil {
		return err
	}
	pod := first.waiting[0].Name
	description, err := d.describe(ctx, pod, "CarbonHeld")
	if err != nil {
		return err
	}
	d.gap()
	d.command("kubectl describe pod "+pod+"   # in part", relevant(description, told...))
	d.step("They wait for the cleanest time before the deadline")
	d.draw(first.planned, "planned start "+first.planned.UTC().Format(time.TimeOnly)+" UTC")
	err = d.awaitPolicy(ctx, func(p *v1alpha1.CarbonPolicy) bool {
		return p.Status.Held.Pods == pods || time.Now().After(first.planned)
	})
	if err != nil {
		return err
	}
	if err := d.kubectl(ctx, "get", "carbonpolicies"); err != nil {
		return err
	}
	d.gap()
	return nil
}

// draw draws the forecast with a run that starts at start.
func (d *demo) draw(start time.Time, label string) {
	c := chart{
		series: d.known, from: d.known.Start(), span: d.drawn,
		start: start, end: start.Add(d.duration), label: label, highlight: d.green,
	}
	d.gap()
	d.show("", "gCO2eq/kWh\n"+strings.Join(c.lines(), "\n"))
}

// told are the sections of a pod's description that tell of its wait.
var told = []string{"Name", "Status", "Conditions", "Events"}

// describe returns what kubectl describe prints of a pod, once that has an event of the reason.
func (d *demo) describe(ctx context.Context, pod, reason string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var description string
	err := env.Poll(ctx, func(ctx context.Context) (err error) {
		if description, err = d.cluster.Kubectl(ctx, "describe", "pod", pod); err != nil {
			return err
		}
		if !strings.Contains(description, " "+reason+" ") {
			return surprise{"an event " + reason + " of pod " + pod, relevant(description, told...)}
		}
		return nil
	})
	return description, unmet(err)
}

// awaitRelease returns when all pods have been let go, neither early nor late.
func (d *demo) awaitRelease(ctx context.Context, first snapshot) error {
	planned := first.planned
	now, err := d.await(ctx, time.Until(first.latest)+10*time.Second, func(now snapshot) error {
		if !now.planned.IsZero() { // it is no longer told once the release is on record
			planned = now.planned
		}
		if now.gated < pods && d.tooEarly(now.at, planned) {
			return final{surprise{"all pods gated until " + planned.Format(time.TimeOnly), now.String()}}
		}
		if late := now.at.Sub(planned); now.gated > 0 && late > 5*time.Second {
			return final{surprise{"no pod gated 5 s after the planned start, " + planned.Format(time.TimeOnly), now.String()}}
		}
		if now.gated > 0 {
			intensity, _ := d.known.At(now.at)
			d.countdown(planned, fmt.Sprintf("the grid is at %.0f gCO2eq/kWh now", intensity))
			return errors.New("still held")
		}
		return nil
	})
	d.countdownOver()
	if err != nil {
		return err
	}
	d.started = now.started()
	d.step("The time has come, %s UTC: Gridlatch takes the gates away", d.started.UTC().Format(time.TimeOnly))
	d.gap()
	pod := first.waiting[0].Name
	description, err := d.describe(ctx, pod, "CarbonReleased")
	if err != nil {
		return err
	}
	d.command("kubectl describe pod "+pod+"   # in part", events(description, "CarbonHeld", "CarbonReleased", "Scheduled"))
	return nil
}

// tooEarly tells whether a start is before the planned one and dirtier: by more than the policy's least gain of 1 %,
// for which it is not worth to wait on.
func (d *demo) tooEarly(start, planned time.Time) bool {
	mean, _ := d.known.Mean(start, start.Add(d.duration))
	best, _ := d.known.Mean(planned, planned.Add(d.duration))
	return start.Before(planned) && mean-best > 0.015*math.Abs(mean)
}

// sumUp waits for the end of the Jobs.
func (d *demo) sumUp(ctx context.Context) error {
	_, err := d.await(ctx, d.duration+20*time.Second, func(now snapshot) error {
		if !now.complete {
			return surprise{"both Jobs complete", now.String()}
		}
		return nil
	})
	if err != nil {
		return err
	}
	d.step("Both Jobs are complete")
	if err := d.kubectl(ctx, "get", "jobs", "can-wait", "ordinary"); err != nil {
		return err
	}
	return d.tellAvoided()
}

// tellAvoided says what the wait was good for.
func (d *demo) tellAvoided() error {
	o := compare(d.known, d.submitted, d.started, d.duration)
	if d.started.Equal(d.submitted) {
		d.step("There was nothing to avoid")
		d.say("It ran at %.0f gCO2eq/kWh. No time before its deadline is cleaner by 1 %% or more: so it was not held.", o.asRun)
		return nil
	}
	// Where there was little to gain, the moment until it was let go may have cost a little instead.
	if o.asRun-o.atOnce > 0.01*math.Abs(o.atOnce) {
		return surprise{fmt.Sprintf("less than the %.0f gCO2eq/kWh of a start at once", o.atOnce), fmt.Sprintf("%.0f gCO2eq/kWh", o.asRun)}
	}
	d.step("Carbon avoided, for every kWh that the Job uses")
	d.say("%5.0f g CO2eq  had it run when it was submitted", o.atOnce)
	d.say("%5.0f g CO2eq  when it ran, %.0f s later", o.asRun, d.started.Sub(d.submitted).Seconds())
	d.say("%s", d.green(fmt.Sprintf("%5.0f g CO2eq  avoided, %.0f %%", o.atOnce-o.asRun, o.share())))
	d.say("Both are the forecast's means over the %s of the run; how many kWh it uses is not measured.", plan.FormatDuration(d.duration))
	return nil
}

func (d *demo) lookAround() {
	d.step("The cluster and Gridlatch keep running, for you to look around")
	for _, line := range [][2]string{
		{"export KUBECONFIG=$PWD/" + kubeconfig + " PATH=$PWD/" + clusterDir + "/bin:$PATH", ""},
		{"kubectl get carbonpolicies --watch", "what Gridlatch knows and holds"},
		{"kubectl replace --force -f test/demo/can-wait.yaml", "submit the Job once more, or one of yours"},
		{"kubectl get pods --watch", "see it wait and run"},
		{"less " + controllerLog, "what Gridlatch logs"},
		{"make down", "stop it all, leave nothing behind"},
	} {
		d.say("%-52s%s", line[0], line[1])
	}
	d.gap()
	d.say("The stand-in for the provider and the exporter have ended; the forecast stays. It is flat from %s UTC on:", d.known.End().Format(time.TimeOnly))
	d.say("what is submitted later runs at once. make demo begins anew.")
	d.say("More to try is in manifests/samples.")
}

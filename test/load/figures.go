package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// A figure is one number that is worth comparing over time.
type figure struct {
	name, unit, target string
	help               string
}

// A measurement yields one value for each of its figures, in their order. It leaves nothing behind.
type measurement struct {
	figures []figure
	run     func(context.Context) ([]float64, error)
}

// measurements are all there are, in the order they are made. A new figure is one more entry.
func measurements() []measurement {
	return append([]measurement{
		{run: measureAdmission, figures: []figure{{
			"admission_p99_us", "us", "<= 1000",
			"The 99th percentile of the webhook's own time for a pod of a few KB and a forecast of 288 slots, called in-process,\n" +
				"    \tfrom the review to the answer.",
		}}},
		{run: measureExtender, figures: extenderFigures()},
		{run: measureSchedule, figures: []figure{{
			"sched_held_ratio", "ratio", ">= 0.8",
			"Pods that may wait that kube-scheduler puts on 1,000 nodes per second when it asks Gridlatch about each, over those\n" +
				"    \twithout an extender.",
		}, {
			"sched_hop_ratio", "ratio", "-",
			"The same with an extender that has its answer beforehand, as long as Gridlatch's: what the hop takes by itself.",
		}, {
			"sched_ordinary_ratio", "ratio", ">= 0.97",
			"Ordinary pods per second of a scheduler with the extender, which it does not ask about them, over those without.",
		}}},
		{run: storm{pods: 5000, rounds: 2}.measure, figures: []figure{{
			"release_ratio", "ratio", ">= 0.85",
			"Releases per second when 5,000 held pods fall due at once, over the bare removals of a gate per second of a\n" +
				"    \tclient that does nothing else, with as many workers (32); both from the first to the last as a watch sees them.",
		}}},
		{run: storm{pods: 20000, rounds: 1}.measure, figures: []figure{{
			"release_20k_ratio", "ratio", ">= 0.9",
			"The same for 20,000 pods.",
		}}},
		{run: measureReleaseAll, figures: []figure{{
			"release_all_20k_ratio", "ratio", ">= 0.8",
			"Releases per second of gridlatch release --all, which is also what Gridlatch does when it is removed, with 20,000\n" +
				"    \theld pods, over the bare removals of a gate per second of a client that does nothing else, with as many workers (32).",
		}, {
			"release_all_20k_s", "s", "< 60",
			"The time of gridlatch release --all from the first to the last of these pods.",
		}}},
		{run: measureRefused, figures: []figure{{
			"release_beside_refused_ratio", "ratio", ">= 0.9",
			"Releases per second when 5,000 held pods fall due at once beside 1,000 that an admission policy keeps from being\n" +
				"    \tchanged, and that fall due at the same moment, over those of 5,000 alone under the same policy.",
		}, {
			"refused_patches_per_minute", "per minute", "<= 200",
			"The most patches of the controller in one of the three minutes after that, for those 1,000.",
		}}},
		{run: measureHeld, figures: []figure{{
			"rss_10k_mib", "MiB", "< 120",
			"Resident memory of the controller that has seen 10,000 pods created and holds them, when it has settled.",
		}, {
			"plan_10k_ms", "ms", "< 100",
			"Mean time to plan 10,000 held pods, each with a latest start and a planned start of its own, as the controller\n" +
				"    \tmeasures it (gridlatch_plan_pass_seconds).",
		}}},
		{run: measureScale, figures: scaleFigures()},
	}, slices.Concat(ofCreations(), ofStrangers(), ofLedger(), ofCeilings(), ofTriggers(), ofNodePools(), ofExports())...)
}

// ofCreations are the measurements of what creating pods costs.
func ofCreations() []measurement {
	return []measurement{
		{run: measureOrdinary(), figures: []figure{{
			"creates_ordinary_ratio", "ratio", ">= 0.95",
			"Creations per second of pods that do not ask to wait, with Gridlatch installed, over those without it.",
		}}},
		{run: measureOrdinary("by-label"), figures: []figure{{
			"creates_ordinary_by_label_ratio", "ratio", ">= 0.99",
			"The same with the component by-label, with which it is a label by which pods ask to wait.",
		}}},
		{run: measureHeldCreates, figures: []figure{{
			"creates_held_ratio", "ratio", ">= 0.9",
			"Creations per second of pods that ask to wait and are held, over those of the same pods with a stub in place of\n" +
				"    \tGridlatch, which holds them at once, without a look at them.",
		}, {
			"creates_held_bare_ratio", "ratio", ">= 0.6",
			"The same over those of the same pods without any webhook.",
		}}},
		{run: measureAuditCreates, figures: []figure{{
			"audit_creates_ratio", "ratio", ">= 0.6",
			"Creations per second of pods in a namespace that is audited whole, over those of the same pods in the same namespace\n" +
				"    \twithout its label. Gridlatch is installed for both.",
		}, {
			"audit_creates_held_ratio", "ratio", ">= 1",
			"The same over those of pods that ask to wait and are held.",
		}}},
	}
}

// ofLedger are the measurements of what the ledger costs.
func ofLedger() []measurement {
	return []measurement{
		{run: measureBooking, figures: []figure{{
			"ledger_10k_ms", "ms", "< 1000",
			"Time of one pass that books 10,000 pods that have ended, with the write of the page (gridlatch_ledger_pass_seconds).",
		}}},
		{run: measureLedgerWrites, figures: []figure{{
			"ledger_writes_per_hour", "per hour", "<= 12",
			"ConfigMaps of the ledger that are written in six passes, which is an hour, while pods end and the pages of 20 older\n" +
				"    \tdays are to be written, too.",
		}}},
		{run: measureLedgerMemory, figures: []figure{{
			"memory_ledger_ratio", "ratio", "<= 1.05",
			"Resident memory of a leader with the ledger over that of one without it, both started with 10,000 pods that are\n" +
				"    \theld and 5,000 that run.",
		}}},
		{run: storm{pods: 5000, rounds: 3}.measureLedger, figures: []figure{{
			"release_ledger_ratio", "ratio", ">= 0.97",
			"Releases per second when 5,000 held pods fall due at once, with the ledger over those without it.",
		}, {
			"release_ledger_requests", "per pod", "0",
			"Requests to the API server that Gridlatch makes more with the ledger than without it, from its start to the end of\n" +
				"    \tthese releases.",
		}}},
	}
}

// ofStrangers are the measurements of what people cost who are not friendly.
func ofStrangers() []measurement {
	return []measurement{
		{run: measureFlood, figures: []figure{{
			"webhook_flood_rss_mib", "MiB", "<= 256",
			"The most memory that is ever resident of a controller that eight strangers call all the time, with AdmissionReviews\n" +
				"    \tof 6.6 MB that take gigabytes if they are decoded, while it holds pods.",
		}}},
		{run: measureJunk, figures: []figure{{
			"forged_rss_mib", "MiB", "<= 32",
			"By how much the controller's memory has grown, when it has settled, for 2,000 Jobs that claim to be held, each with\n" +
				"    \t250 kB in an annotation that nobody reads.",
		}, {
			"forged_restart_peak_mib", "MiB", "< 256",
			"The controller's peak memory when it starts with them there.",
		}}},
		{run: measureForgedSeries, figures: []figure{{
			"forged_series", "series", "0",
			"Series of /metrics that are left, beyond those before, after 200 pods and 200 Jobs are gone that carried our label\n" +
				"    \tand named as many policies that do not exist.",
		}}},
	}
}

// ofCeilings are the measurements of what is done for KEDA.
func ofCeilings() []measurement {
	return []measurement{
		{run: measureCeiling, figures: []figure{{
			"ceiling_p99_s", "s", "< 2",
			"The 99th percentile of the time from before the forecast's ConfigMap is replaced until KEDA's autoscaler has the\n" +
				"    \tnew maxReplicas, over 100 changes, with KEDA's operator at work.",
		}}},
		{run: measureRecap, figures: []figure{{
			"recap_ratio", "ratio", ">= 0.85",
			"Ceilings set per second on 1,000 ScaledObjects of one policy, over the bare patches of that one field of\n" +
				"    \tthe same objects per second of a client that does nothing else, with as many workers (32); without KEDA's operator.",
		}}},
		{run: measureIdle, figures: []figure{{
			"idle_writes_per_hour", "per hour", "0",
			"Requests of the controller that change something, by its own count over three minutes in which the forecast and\n" +
				"    \t100 ScaledObjects stay as they are; without the renewals of a lease.",
		}}},
	}
}

// ofTriggers are the measurements of KEDA's trigger carbon-intensity.
func ofTriggers() []measurement {
	return []measurement{
		{run: measureTrigger, figures: []figure{{
			"trigger_p99_s", "s", "< 2",
			"The 99th percentile of the time from before the forecast's ConfigMap is replaced, by which the grid turns clean,\n" +
				"    \tuntil the Deployment of a ScaledObject is to have its first replica, over 50 times, with KEDA's operator at work.",
		}}},
		{run: measureTriggers, figures: []figure{{
			"trigger_memory_mib", "MiB", "< 16",
			"Resident memory of the controller with 1,000 ScaledObjects that have the trigger, and with KEDA's streams for\n" +
				"    \teach, when it has settled, beyond that without them.",
		}, {
			"trigger_idle_writes", "writes", "0",
			"Requests of the controller that change something in a minute in which the grid stays as it is, with the same objects;\n" +
				"    \twithout the renewals of a lease.",
		}}},
	}
}

// ofNodePools are the measurements of what is done for Karpenter.
func ofNodePools() []measurement {
	return []measurement{
		{run: measureNodePool, figures: []figure{{
			"nodepool_p99_s", "s", "< 2",
			"The 99th percentile of the time from before the forecast's ConfigMap is replaced until a NodePool has its new limits,\n" +
				"    \tover 50 turns of the grid, with Karpenter at work.",
		}}},
		{run: measureChurn, figures: []figure{{
			"nodepool_drifted", "nodes", "0",
			"NodeClaims that have drifted, or were replaced, while the limits, weights and prices of two NodePools followed the\n" +
				"    \tforecast of each hour of a week, one soon after the other, with Karpenter at work.",
		}}},
		{run: measureIdlePools, figures: []figure{{
			"nodepool_idle_writes", "per hour", "0",
			"Requests of the controller that change something, by its own count over three minutes in which the same forecast\n" +
				"    \tgoes and comes again, and 100 NodePools with limits, weights by rank and prices stay as they are, with\n" +
				"    \tKarpenter at work; without the renewals of a lease and the status of the policy.",
		}}},
	}
}

// ofExports are the measurements of the part that asks providers.
func ofExports() []measurement {
	return []measurement{{run: measureExport, figures: []figure{{
		"export_rss_mib", "MiB", "< 64",
		"Resident memory of the exporter, with the GOMEMLIMIT that ships, when it has settled: with forecasts and eight weeks of\n" +
			"    \tthe past of 64 zones of Electricity Maps.",
	}, {
		"export_peak_mib", "MiB", "< 128",
		"The most memory that ever was resident on the way there; 128 MiB is the limit of the shipped Deployment.",
	}, {
		"export_requests_per_minute", "requests", "<= 150",
		"The most requests that the provider got within a minute on the way there. 150 is the documented limit.",
	}, {
		"export_requests_per_hour", "per hour", "<= 9000",
		"Requests for these 64 zones per hour, over 24 hours on a quick clock in which the provider has new values each hour.",
	}, {
		"export_writes_per_hour", "per hour", "0",
		"Requests to the API server that change something, over 24 hours on a quick clock in which the exporter asks as ever and\n" +
			"    \tthe provider says the same again; without the renewals of a lease.",
	}}}}
}

// scaleFigures are those of measureScale, for as many held pods as it has steps.
func scaleFigures() []figure {
	figures := []figure{{
		"bytes_per_held_pod", "bytes", "< 1024",
		"Resident memory of the controller that holds 100,000 pods in 2,000 Jobs, beyond that of one that holds none, per pod.",
	}}
	for _, n := range scaleSteps() {
		name := fmt.Sprintf("%dk", n/1000)
		what := fmt.Sprintf("with %d pods held in %d Jobs", n, n/podsOfJob)
		figures = append(figures,
			figure{"rss_" + name + "_jobs_mib", "MiB", "none", "Resident memory of the controller " + what + ", when it has settled."},
			figure{"plan_" + name + "_ms", "ms", "< 200", "Mean time of a pass " + what + "."},
			figure{"idle_cpu_" + name + "_percent", "% of a core", "near 0", "What the controller uses " + what + " when nothing changes."},
			figure{"restart_" + name + "_s", "s", "none", "From the start of the controller to the release of a pod that is due, " + what + "."},
		)
	}
	return figures
}

// extenderFigures are those of measureExtender.
func extenderFigures() []figure {
	var all []figure
	for _, n := range []string{"100", "1000", "5000"} {
		target := "-"
		if n == "5000" {
			target = "< 2"
		}
		all = append(all,
			figure{"extender_p50_ms_" + n, "ms", "-", "The median of the time to have " + n + " nodes scored, names only, over HTTPS."},
			figure{"extender_p99_ms_" + n, "ms", target, "The 99th percentile of the same, in the median of some rounds."},
			figure{"extender_hop_p99_ms_" + n, "ms", "-", "That of a server beside the caller which gives the same answer without a look at what it is asked."})
	}
	return all
}

// rate adds up how often something was done, and how long that took.
type rate struct {
	n    int
	took time.Duration
}

func (r *rate) add(n int, took time.Duration) { r.n, r.took = r.n+n, r.took+took }

func (r *rate) perSecond() float64 { return float64(r.n) / r.took.Seconds() }

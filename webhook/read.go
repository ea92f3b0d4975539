package webhook

import (
	"errors"
	"strconv"
	"unicode/utf8"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
	"github.com/gridlatch/gridlatch/serving"
)

// The most of what is read of an object, in bytes of JSON. Decoded, most of it
// takes some thirty times as much if it is made for that, as a list of empty
// objects is.
const (
	mostOurs   = 64 << 10 // of our labels or annotations together: the longest reason has 1 KiB
	mostOwners = 64 << 10
	mostGates  = 64 << 10
	mostNodes  = 128 << 10 // of a node selector, and of a node affinity
	mostNumber = 64        // of a number, or a flag
	mostName   = 4 << 10
)

// object reads an object as far as it is needed. A part that is larger than it may
// be is left out; tooLarge says which was the first.
type object struct {
	serving.Reader
	tools    []policy.Tool
	tooLarge error
}

func newObject(raw []byte) *object {
	return &object{Reader: serving.NewReader(raw), tools: policy.Tools()}
}

// fields reads an object within the object.
func (o *object) fields(path string, known map[string]func() error) func() error {
	return func() error { return o.Fields(path, known) }
}

// decode decodes a part of at most so many bytes.
func (o *object) decode(path string, most int, into any) func() error {
	return func() error { return o.note(o.Decode(path, most, into)) }
}

// note keeps what is too large from being an error.
func (o *object) note(err error) error {
	var tooLarge *serving.TooLargeError
	if !errors.As(err, &tooLarge) {
		return err
	}
	if o.tooLarge == nil {
		o.tooLarge = tooLarge
	}
	return nil
}

// meta is the metadata of an object as it came. Of labels and annotations, only
// those are known that are ours.
type meta struct {
	path                string
	there               bool
	labels, annotations table
	owners              []metav1.OwnerReference
	// tool is the one that the object is of; nil if none is known.
	tool *policy.Tool
}

// table is a map of strings in an object; there tells an empty one from none.
type table struct {
	there  bool
	known  map[string]string
	others int // how many bytes what is not known has, keys and values
}

// metadata reads metadata at a path such as /metadata.
func (o *object) metadata(path, pointer string, into *meta) func() error {
	into.path = pointer
	return func() error {
		into.there = o.PeekKind() == '{'
		return o.Fields(path, map[string]func() error{
			"labels":          o.table(path+".labels", &into.labels, into),
			"annotations":     o.table(path+".annotations", &into.annotations, into),
			"ownerReferences": o.decode(path+".ownerReferences", mostOwners, &into.owners),
		})
	}
}

// table reads what is ours of labels or annotations, and of what tool all of them are.
func (o *object) table(path string, into *table, of *meta) func() error {
	return func() error {
		if o.PeekKind() == 'n' {
			return o.Skip()
		}
		into.there, into.known = true, map[string]string{}
		left := mostOurs
		return o.Members(path, func(key string) error {
			ours := hold.IsKnownKey(key)
			if !ours {
				of.tool = policy.ToolOf(o.tools, key, of.tool)
			}
			if left <= 0 || !ours {
				if policy.IsWritten(key) {
					into.known[key] = "" // to be taken off, whatever it says
				}
				size, err := o.size()
				into.others += len(key) + size
				return err
			}
			value, err := o.Text(path, left-len(key))
			var tooLarge *serving.TooLargeError
			if errors.As(err, &tooLarge) {
				left, tooLarge.Most = 0, mostOurs // there is no room for any other
				if policy.IsWritten(key) {
					into.known[key] = ""
				}
			}
			if err != nil {
				return o.note(err)
			}
			left -= len(key) + len(value)
			into.known[key] = value
			return nil
		})
	}
}

// size reads over a string, and returns how many bytes it has.
func (o *object) size() (int, error) {
	raw, err := o.Raw()
	size := 0
	for i := 0; i < len(raw); size++ {
		switch {
		case raw[i] == '"':
			i, size = i+1, size-1
		case raw[i] != '\\':
			i++
		case raw[i+1] != 'u':
			i += 2
		default: // the reader has made sure that these are four digits
			r, _ := strconv.ParseUint(string(raw[i+2:i+6]), 16, 16)
			i, size = i+6, size+max(utf8.RuneLen(rune(r)), 2)-1 // a surrogate is half of a rune of four
			if r < utf8.RuneSelf {
				size--
			}
		}
	}
	return size, err
}

// podSpec is what is read of a pod's spec, beside what has a place in a
// corev1.PodSpec.
type podSpec struct {
	containers bool
	resources  resources
}

// resources are those of a first container: which are named, and not how much.
type resources struct{ there, limits, requests, marked, strict bool }

// spec reads the spec of a pod.
func (o *object) spec(path string, into *corev1.PodSpec, also *podSpec) func() error {
	return o.fields(path, map[string]func() error{
		"schedulingGates": o.decode(path+".schedulingGates", mostGates, &into.SchedulingGates),
		"nodeName":        o.decode(path+".nodeName", mostName, &into.NodeName),
		"nodeSelector":    o.decode(path+".nodeSelector", mostNodes, &into.NodeSelector),
		"affinity": func() error {
			if o.PeekKind() == '{' {
				into.Affinity = &corev1.Affinity{}
			}
			return o.Fields(path+".affinity", map[string]func() error{
				"nodeAffinity": func() error {
					return o.decode(path+".affinity.nodeAffinity", mostNodes, &into.Affinity.NodeAffinity)()
				},
			})
		},
		"containers": func() error {
			return o.List(path+".containers", func() error {
				if also.containers {
					return o.Skip()
				}
				also.containers = true
				return o.container(path+".containers[0]", &also.resources)
			})
		},
	})
}

func (o *object) container(path string, into *resources) error {
	return o.Fields(path, map[string]func() error{
		"resources": func() error {
			into.there = o.PeekKind() == '{'
			return o.Fields(path+".resources", map[string]func() error{
				"limits": func() error {
					into.limits = o.PeekKind() == '{'
					return o.Fields(path+".resources.limits", map[string]func() error{
						string(v1alpha1.PlacementResource):       o.seen(&into.marked),
						string(v1alpha1.StrictPlacementResource): o.seen(&into.strict),
					})
				},
				"requests": func() error {
					into.requests = o.PeekKind() == '{'
					return o.Skip()
				},
			})
		},
	})
}

// seen notes that a member is there.
func (o *object) seen(it *bool) func() error {
	return func() error {
		*it = true
		return o.Skip()
	}
}

// aPod is a pod as far as it is read, and how it came.
type aPod struct {
	corev1.Pod
	came meta
	podSpec
	tooLarge error
}

// readPod reads a pod.
func readPod(raw []byte) (*aPod, error) {
	o := newObject(raw)
	pod := &aPod{}
	err := o.Fields("pod", map[string]func() error{
		"metadata": o.metadata("metadata", "/metadata", &pod.came),
		"spec":     o.spec("spec", &pod.Spec, &pod.podSpec),
	})
	pod.came.own(&pod.ObjectMeta)
	pod.tooLarge = o.tooLarge
	return pod, err
}

// aJob is a Job as far as it is read, and how it and its template came.
type aJob struct {
	batchv1.Job
	came, template meta
	tooLarge       error
}

// readJob reads a Job.
func readJob(raw []byte) (*aJob, error) {
	o := newObject(raw)
	job := &aJob{}
	spec, template := &job.Spec, &job.Spec.Template
	err := o.Fields("job", map[string]func() error{
		"metadata": o.metadata("metadata", "/metadata", &job.came),
		"spec": o.fields("spec", map[string]func() error{
			"suspend":               o.decode("spec.suspend", mostNumber, &spec.Suspend),
			"parallelism":           o.decode("spec.parallelism", mostNumber, &spec.Parallelism),
			"completions":           o.decode("spec.completions", mostNumber, &spec.Completions),
			"activeDeadlineSeconds": o.decode("spec.activeDeadlineSeconds", mostNumber, &spec.ActiveDeadlineSeconds),
			"managedBy":             o.decode("spec.managedBy", mostName, &spec.ManagedBy),
			"template": o.fields("spec.template", map[string]func() error{
				"metadata": o.metadata("spec.template.metadata", "/spec/template/metadata", &job.template),
				"spec":     o.spec("spec.template.spec", &template.Spec, &podSpec{}),
			}),
		}),
	})
	job.template.path = "/spec/template/metadata"
	job.came.own(&job.ObjectMeta)
	job.template.own(&template.ObjectMeta)
	job.tooLarge = o.tooLarge
	return job, err
}

package webhook

import (
	"cmp"
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

// These constants bound the parts of an object that are read, in bytes of JSON. A hostile part,
// such as a list of empty objects, takes some thirty times as much memory when it is decoded.
const (
	maxOwnBytes      = 64 << 10 // of Gridlatch's labels or annotations together: the longest reason has 1 KiB
	maxOwnerBytes    = 64 << 10
	maxGateBytes     = 64 << 10
	maxAffinityBytes = 128 << 10 // of a node selector, and of a node affinity
	maxNumberBytes   = 64        // of a number, or of true or false
	maxNameBytes     = 4 << 10
)

// object reads the needed parts of an object. A part that is too large is left out, and tooLarge
// names the first such part.
type object struct {
	serving.Reader
	tools    []policy.Tool
	tooLarge error
}

func newObject(raw []byte) *object {
	return &object{Reader: serving.NewReader(raw), tools: policy.Tools()}
}

// fields returns a function that reads an object within the object.
func (o *object) fields(path string, known map[string]func() error) func() error {
	return func() error { return o.Fields(path, known) }
}

// decode returns a function that decodes a part of at most limit bytes.
func (o *object) decode(path string, limit int, into any) func() error {
	return func() error { return o.keepTooLarge(o.Decode(path, limit, into)) }
}

// keepTooLarge stores an error about a part that is too large, and returns any other error.
func (o *object) keepTooLarge(err error) error {
	var tooLarge *serving.TooLargeError
	if !errors.As(err, &tooLarge) {
		return err
	}
	if o.tooLarge == nil {
		o.tooLarge = tooLarge
	}
	return nil
}

// meta is the metadata of an object as it came. Only Gridlatch's labels and annotations are kept.
type meta struct {
	path                string
	exists              bool
	labels, annotations stringMap
	owners              []metav1.OwnerReference
	// tool is the tool that has created the object, and nil if no tool is known.
	tool *policy.Tool
}

// stringMap is a map of strings in an object.
type stringMap struct {
	exists     bool              // an empty map exists
	known      map[string]string // Gridlatch's own members
	otherBytes int               // the size of the other members, keys and values
}

// metadata returns a function that reads metadata. path names the metadata in messages, and pointer
// is its JSON pointer.
func (o *object) metadata(path, pointer string, into *meta) func() error {
	into.path = pointer
	return func() error {
		into.exists = o.PeekKind() == '{'
		return o.Fields(path, map[string]func() error{
			"labels":          o.stringMap(path+".labels", &into.labels, into),
			"annotations":     o.stringMap(path+".annotations", &into.annotations, into),
			"ownerReferences": o.decode(path+".ownerReferences", maxOwnerBytes, &into.owners),
		})
	}
}

// stringMap returns a function that reads Gridlatch's own labels or annotations. All labels and
// annotations tell which tool has created the object.
func (o *object) stringMap(path string, into *stringMap, of *meta) func() error {
	return func() error {
		if o.PeekKind() == 'n' {
			return o.Skip()
		}
		into.exists, into.known = true, map[string]string{}
		left := maxOwnBytes
		return o.Members(path, func(key string) error {
			ours := hold.IsKnownKey(key)
			if !ours {
				of.tool = policy.ToolOf(o.tools, key, of.tool)
			}
			if left <= 0 || !ours {
				if policy.IsWrittenKey(key) {
					into.known[key] = "" // to be removed, whatever the value
				}
				size, err := o.textSize()
				into.otherBytes += len(key) + size
				return err
			}
			value, err := o.Text(path, left-len(key))
			var tooLarge *serving.TooLargeError
			if errors.As(err, &tooLarge) {
				left, tooLarge.Limit = 0, maxOwnBytes // and no other value is read
				if policy.IsWrittenKey(key) {
					into.known[key] = ""
				}
			}
			if err != nil {
				return o.keepTooLarge(err)
			}
			left -= len(key) + len(value)
			into.known[key] = value
			return nil
		})
	}
}

// textSize reads over a string, and returns how many bytes the string has when it is decoded.
func (o *object) textSize() (int, error) {
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

// podSpec is what is read of a pod's spec and has no place in a corev1.PodSpec.
type podSpec struct {
	hasContainer bool
	resources    resources
}

// resources tells which resources a container names, and not how much of them.
type resources struct{ exist, haveLimits, haveRequests, havePlacement, haveStrictPlacement bool }

// spec returns a function that reads the spec of a pod.
func (o *object) spec(path string, into *corev1.PodSpec, also *podSpec) func() error {
	return o.fields(path, map[string]func() error{
		"schedulingGates": o.decode(path+".schedulingGates", maxGateBytes, &into.SchedulingGates),
		"restartPolicy":   o.decode(path+".restartPolicy", maxNameBytes, &into.RestartPolicy),
		"nodeName":        o.decode(path+".nodeName", maxNameBytes, &into.NodeName),
		"nodeSelector":    o.decode(path+".nodeSelector", maxAffinityBytes, &into.NodeSelector),
		"affinity": func() error {
			if o.PeekKind() == '{' {
				into.Affinity = &corev1.Affinity{}
			}
			return o.Fields(path+".affinity", map[string]func() error{
				"nodeAffinity": func() error {
					return o.decode(path+".affinity.nodeAffinity", maxAffinityBytes, &into.Affinity.NodeAffinity)()
				},
			})
		},
		"containers": func() error {
			return o.List(path+".containers", func() error {
				if also.hasContainer {
					return o.Skip()
				}
				also.hasContainer = true
				return o.container(path+".containers[0]", &also.resources)
			})
		},
	})
}

// container reads the resources of a container.
func (o *object) container(path string, into *resources) error {
	return o.Fields(path, map[string]func() error{
		"resources": func() error {
			into.exist = o.PeekKind() == '{'
			return o.Fields(path+".resources", map[string]func() error{
				"limits": func() error {
					into.haveLimits = o.PeekKind() == '{'
					return o.Fields(path+".resources.limits", map[string]func() error{
						string(v1alpha1.PlacementResource):       o.noteMember(&into.havePlacement),
						string(v1alpha1.StrictPlacementResource): o.noteMember(&into.haveStrictPlacement),
					})
				},
				"requests": func() error {
					into.haveRequests = o.PeekKind() == '{'
					return o.Skip()
				},
			})
		},
	})
}

// noteMember returns a function that reads over a member and notes that the member exists.
func (o *object) noteMember(it *bool) func() error {
	return func() error {
		*it = true
		return o.Skip()
	}
}

// decodedPod is the part of a pod that is read, and its metadata as they came.
type decodedPod struct {
	corev1.Pod
	original meta
	podSpec
	tooLarge error
}

// readPod reads a pod.
func readPod(raw []byte) (*decodedPod, error) {
	o := newObject(raw)
	pod := &decodedPod{}
	err := o.Fields("pod", map[string]func() error{
		"metadata": o.metadata("metadata", "/metadata", &pod.original),
		"spec":     o.spec("spec", &pod.Spec, &pod.podSpec),
	})
	pod.original.fill(&pod.ObjectMeta)
	pod.tooLarge = o.tooLarge
	return pod, err
}

// decodedJob is the part of a Job that is read, and the metadata of the Job and its template as
// they came.
type decodedJob struct {
	batchv1.Job
	original, originalTemplate meta
	tooLarge                   error
	// mark is what Gridlatch wrote on the Job before.
	mark mark
}

// readJob reads a Job.
func readJob(raw []byte) (*decodedJob, error) {
	o := newObject(raw)
	job := &decodedJob{}
	spec, template := &job.Spec, &job.Spec.Template
	err := o.Fields("job", map[string]func() error{
		"metadata": o.metadata("metadata", "/metadata", &job.original),
		"spec": o.fields("spec", map[string]func() error{
			"suspend":               o.decode("spec.suspend", maxNumberBytes, &spec.Suspend),
			"parallelism":           o.decode("spec.parallelism", maxNumberBytes, &spec.Parallelism),
			"completions":           o.decode("spec.completions", maxNumberBytes, &spec.Completions),
			"activeDeadlineSeconds": o.decode("spec.activeDeadlineSeconds", maxNumberBytes, &spec.ActiveDeadlineSeconds),
			"managedBy":             o.decode("spec.managedBy", maxNameBytes, &spec.ManagedBy),
			"template": o.fields("spec.template", map[string]func() error{
				"metadata": o.metadata("spec.template.metadata", "/spec/template/metadata", &job.originalTemplate),
				"spec":     o.spec("spec.template.spec", &template.Spec, &podSpec{}),
			}),
		}),
	})
	job.originalTemplate.path = "/spec/template/metadata"
	job.original.fill(&job.ObjectMeta)
	job.originalTemplate.fill(&template.ObjectMeta)
	job.tooLarge = o.tooLarge
	return job, err
}

// readCronJob reads a CronJob, and what the CronJob asks for its runs. A part that is too large is an
// error.
func readCronJob(raw []byte) (*batchv1.CronJob, error) {
	o := newObject(raw)
	c := &batchv1.CronJob{}
	spec, template := &c.Spec, &c.Spec.JobTemplate
	var own, ofJob, ofPod meta
	err := o.Fields("cronjob", map[string]func() error{
		"metadata": o.metadata("metadata", "/metadata", &own),
		"spec": o.fields("spec", map[string]func() error{
			"schedule":                o.decode("spec.schedule", maxNameBytes, &spec.Schedule),
			"timeZone":                o.decode("spec.timeZone", maxNameBytes, &spec.TimeZone),
			"concurrencyPolicy":       o.decode("spec.concurrencyPolicy", maxNameBytes, &spec.ConcurrencyPolicy),
			"suspend":                 o.decode("spec.suspend", maxNumberBytes, &spec.Suspend),
			"startingDeadlineSeconds": o.decode("spec.startingDeadlineSeconds", maxNumberBytes, &spec.StartingDeadlineSeconds),
			"jobTemplate": o.fields("spec.jobTemplate", map[string]func() error{
				"metadata": o.metadata("spec.jobTemplate.metadata", "", &ofJob),
				"spec": o.fields("spec.jobTemplate.spec", map[string]func() error{
					"template": o.fields("spec.jobTemplate.spec.template", map[string]func() error{
						"metadata": o.metadata("spec.jobTemplate.spec.template.metadata", "", &ofPod),
						"spec":     o.spec("spec.jobTemplate.spec.template.spec", &template.Spec.Template.Spec, &podSpec{}),
					}),
				}),
			}),
		}),
	})
	own.fill(&c.ObjectMeta)
	ofJob.fill(&template.ObjectMeta)
	ofPod.fill(&template.Spec.Template.ObjectMeta)
	return c, cmp.Or(err, o.tooLarge)
}

package files

// Plan is what makes one tree equal to another.
type Plan struct {
	// Send are the names of files to be sent, Delete those to be deleted there.
	Send   []string `json:"send,omitempty"`
	Delete []string `json:"delete,omitempty"`
	// Bytes is how much is sent.
	Bytes int64 `json:"bytes"`
}

// PlanSync says which files of source have to be sent so that target has them;
// both are in the order of names, as [Folder.List] gives them. A file is the same
// if both have the same SHA-256, where both tell one, else if the size is and the
// target's is not older. With remove, what only the target has is deleted.
func PlanSync(source, target []Entry, remove bool) Plan {
	var plan Plan
	drop := func(entry Entry) {
		if remove {
			plan.Delete = append(plan.Delete, entry.Name)
		}
	}
	for _, file := range source {
		for len(target) > 0 && target[0].Name < file.Name {
			drop(target[0])
			target = target[1:]
		}
		if len(target) > 0 && target[0].Name == file.Name {
			there := target[0]
			target = target[1:]
			if same(file, there) {
				continue
			}
		}
		plan.Send = append(plan.Send, file.Name)
		plan.Bytes += file.Size
	}
	for _, entry := range target {
		drop(entry)
	}
	return plan
}

func same(file, there Entry) bool {
	if file.SHA256 != "" && there.SHA256 != "" {
		return file.SHA256 == there.SHA256
	}
	return file.Size == there.Size && !there.Modified.Before(file.Modified)
}

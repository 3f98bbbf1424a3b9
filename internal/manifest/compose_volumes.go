package manifest

import "strings"

// readVolumes makes folders that all instances share of the named volumes of a service.
func (c *compose) readVolumes(service string, volumes *node) {
	if volumes == nil {
		return
	}
	for _, item := range volumes.items {
		source, target := item.get("source").string(), item.get("target").string()
		if item.kind == text {
			source, target, _ = strings.Cut(item.text, ":")
			target, _, _ = strings.Cut(target, ":")
		}
		switch {
		case source == "" || target == "":
			c.note(item.at, "service %s: volumes: what has no name ends with the instance; name a folder under files for what is to stay", service)
		case strings.ContainsAny(source[:1], "./~$"):
			c.note(item.at, "service %s: volumes: %s is not mounted; an instance finds the app as it was built", service, shorten(source))
		default:
			c.share(service, source, target, item.at)
		}
	}
}

// share makes a shared folder of a volume, unless it is one already.
func (c *compose) share(service, volume, target string, at position) {
	var path folderPath
	if err := path.parse(&node{kind: text, text: target, at: at}); err != nil {
		c.note(at, "service %s: volumes: %s: %v", service, shorten(volume), err)
		return
	}
	key := asName(volume)
	if same := c.document.Files[key]; same != nil && same.Path.Value == path {
		return
	}
	for _, other := range sortedKeys(c.document.Files) {
		folder := c.document.Files[other]
		if key == other || within(string(path), string(folder.Path.Value)) || within(string(folder.Path.Value), string(path)) {
			c.note(at, "service %s: volumes: %s is not at %s: files.%s is at %s", service, shorten(volume), shorten(string(path)), other, folder.Path.Value)
			return
		}
	}
	if key == "" {
		c.note(at, "service %s: volumes: %q cannot be made a name", service, shorten(volume))
		return
	}
	if c.document.Files == nil {
		c.document.Files = map[name]*filesSection{}
	}
	c.document.Files[key] = &filesSection{At: at, Path: setAt(path, at)}
	c.note(at, "service %s: the volume %s is a folder that all processes share, at %s", service, shorten(volume), path)
}

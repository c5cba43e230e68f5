"""What `quadrant template` prints, by Jinja2, set up as the transformers library sets it up."""
import datetime
import json

import jinja2
import jinja2.ext
import jinja2.sandbox


class generation(jinja2.ext.Extension):
    """{% generation %}, which only marks its body."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        return jinja2.nodes.Scope(parser.parse_statements(["name:endgeneration"], drop_needle=True), lineno=line)


def raise_exception(message):
    raise jinja2.TemplateError(message)


def strftime_now(form):
    return datetime.datetime.now(datetime.timezone.utc).strftime(form)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


ENVIRONMENT = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[generation, jinja2.ext.loopcontrols])
ENVIRONMENT.filters["tojson"] = tojson
ENVIRONMENT.globals.update(raise_exception=raise_exception, strftime_now=strftime_now)


def render(config, requests):
    """Of a tokenizer_config.json: {"text"} or {"error"} for each request."""
    template = ENVIRONMENT.from_string(config["chat_template"])
    tokens = {name: config[name] for name in ("bos_token", "eos_token")}

    def one(request):
        try:
            return {"text": template.render(**{"tools": None, "documents": None, **request, **tokens})}
        except Exception as error:  # of any kind: a template may do anything wrong
            return {"error": f"{type(error).__name__}: {error}"}

    return [one(request) for request in requests]

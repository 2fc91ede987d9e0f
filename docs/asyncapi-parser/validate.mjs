// Validates an AsyncAPI document (by default ../asyncapi.json): prints each error with its place, exits 1 on any.

import { readFile } from 'node:fs/promises'
import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'

import { DiagnosticSeverity, Parser } from '@asyncapi/parser'

const path = process.argv[2] ?? fileURLToPath(new URL('../asyncapi.json', import.meta.url))
const name = relative(process.cwd(), path)

const { document, diagnostics } = await new Parser().parse(await readFile(path, 'utf8'), { source: path })
const errors = diagnostics.filter(({ severity }) => severity === DiagnosticSeverity.Error)

for (const { range, path: place, message } of errors) {
  console.error(`${name}:${range.start.line + 1}: ${place.join('.')}: ${message}`)
}
if (errors.length > 0 || document === undefined) {
  console.error(`${name} is not a valid AsyncAPI document: ${errors.length} errors`)
  process.exitCode = 1
} else {
  const [version, operations] = [document.version(), document.operations().all().length]
  console.log(`${name} is valid AsyncAPI ${version}: ${operations} operations`)
}

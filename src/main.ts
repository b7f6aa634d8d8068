#!/usr/bin/env node
import { text } from 'node:stream/consumers'
import { run } from './cli/program.ts'

// A reader that went away (`postern routes | head -1`) is no fault.
process.stdout.on('error', (cause: NodeJS.ErrnoException) => process.exit(cause.code === 'EPIPE' ? 0 : 1))

process.exitCode = await run(process.argv.slice(2), {
  out: (line) => process.stdout.write(line),
  err: (line) => process.stderr.write(line),
  env: process.env,
  stdin: () => text(process.stdin),
})

import { credentialProperties } from './credential-properties.ts'
import { decodeProperties } from './decode-properties.ts'
import { dpopProperties } from './dpop-properties.ts'
import { edgeProperties } from './edge-properties.ts'
import { fileProperties } from './file-properties.ts'
import { jsonProperties } from './json-properties.ts'
import { jwtProperties } from './jwt-properties.ts'
import { pathProperties } from './path-properties.ts'
import { pipelineProperties } from './pipeline-properties.ts'
import { pipelineTime } from './pipeline-time.ts'
import type { Property } from './property.ts'
import { ruleProperties } from './rule-properties.ts'
import { spiffeProperties } from './spiffe-properties.ts'
import { timeProperties } from './time-properties.ts'

/** Every property: `npm test` tries each a little, `npm run fuzz` a million times in all. */
export const properties: readonly Property[] = [
  ...decodeProperties,
  ...pathProperties,
  ...jwtProperties,
  ...spiffeProperties,
  ...credentialProperties,
  ...edgeProperties,
  ...dpopProperties,
  ...ruleProperties,
  ...fileProperties,
  ...jsonProperties,
  ...timeProperties,
  ...pipelineProperties,
  pipelineTime,
]

// Reads [{schema, hex}] from stdin; writes [{hex, value}]: each decoded and encoded again by Borsh for JavaScript.
const { deserialize, serialize } = require("borsh");

// The decoded value in the form of `support.vectors.plain`: wide integers as text, bytes as hex, unions by position.
function plain(schema, value) {
  if (typeof schema === "string") return typeof value === "bigint" ? value.toString() : value;
  if ("option" in schema) return value === null ? null : plain(schema.option, value);
  if ("enum" in schema) {
    const name = Object.keys(value)[0];
    const at = schema.enum.findIndex((variant) => name in variant.struct);
    return [at, plain(schema.enum[at].struct[name], value[name])];
  }
  if ("array" in schema) {
    if (schema.array.type === "u8") return Buffer.from(value).toString("hex");
    return Array.from(value, (item) => plain(schema.array.type, item));
  }
  if ("set" in schema) return Array.from(value, (item) => plain(schema.set, item));
  if ("map" in schema) {
    return Array.from(value, ([key, item]) => [plain(schema.map.key, key), plain(schema.map.value, item)]);
  }
  return Object.entries(schema.struct).map(([name, part]) => [name, plain(part, value[name])]);
}

const asked = JSON.parse(require("fs").readFileSync(0, "utf8"));
const answers = asked.map(({ schema, hex }) => {
  const value = deserialize(schema, Buffer.from(hex, "hex"));
  return { hex: Buffer.from(serialize(schema, value)).toString("hex"), value: plain(schema, value) };
});
process.stdout.write(JSON.stringify(answers));

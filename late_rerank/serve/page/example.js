// What a newcomer finds filled in: passages in the order in which a search for the question's words might bring them.

export const QUERY = "Why won't my bread dough rise?";

export const PASSAGES = [
  "The bakery opens before dawn. When its first customers rise, the bread is on the shelf.",
  "A bread knife wants long teeth and little pressure. Wait until the loaf is cool, or the crumb will tear.",
  "Flour prices will rise this year, since dry weather has cost farmers a third of their wheat.",
  "Yeast that is too old can't lift a dough. Stir some into warm water with sugar: if no foam forms within ten minutes, buy fresh.",
  "Rice and maize have no gluten, so their flours make flat cakes and soft puddings.",
  "In a cold kitchen yeast works slowly. Give the dough a warm corner, or simply twice the time.",
  "Too much salt slows fermentation: more than two percent of the flour's weight, and the dough stays flat.",
];
